"""A real Kubernetes control plane, Velero, S3 and Temporal as plain processes on this machine.

For people who try the engine and for the tests that need the real thing; it imports nothing of
the product. `local_cluster.cli` is the command, `local_cluster.cluster.LocalCluster` the API.
"""
