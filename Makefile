# Each verb is one line that you could type yourself. Start with `make demo`.
.PHONY: help env demo demo-retry down test bench lint format lock

help: ## Say what there is
	@grep -E '^[a-z-]+:.*## ' Makefile | sed -E 's/^([a-z-]+):.*## /  make \1\t/' | expand -t 20

env: ## Make .venv, where it is missing or its lock changed
	@scripts/environment

demo: env ## A backup, its restore, and a restore that fails, on a real cluster on this machine
	@scripts/node-packages && .venv/bin/python -m demo

demo-retry: env ## Mend and retry the restore that the demo left waiting
	@.venv/bin/python -m demo --retry

down: env ## Stop the demo's cluster; what it holds stays for the next demo
	@.venv/bin/vop local down

test: env ## Every test; the Debian packages for them are installed where you are root
	@scripts/test-packages && scripts/node-packages && .venv/bin/vop local build && .venv/bin/pytest

bench: env ## Measure the engine
	.venv/bin/python -m bench

lint: env ## Style, types, and who may import whom
	.venv/bin/ruff check && .venv/bin/ruff format --check && .venv/bin/mypy && .venv/bin/lint-imports

format: env ## Write all Python in one style
	.venv/bin/ruff check --fix --exit-zero && .venv/bin/ruff format

lock: env ## Pin the newest versions that pyproject.toml allows
	.venv/bin/uv pip compile pyproject.toml -o requirements.lock --group build --group demo --group local --group test --upgrade --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --quiet
