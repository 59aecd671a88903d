PYTHON ?= python3

.PHONY: demo test check

demo test check:
	$(PYTHON) run.py $@
