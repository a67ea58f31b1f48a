"""`python -m local_cluster …`: the same commands as `vop local …`, where `vop` is not installed."""

from local_cluster.cli import local

if __name__ == "__main__":
    local(prog_name="python -m local_cluster")
