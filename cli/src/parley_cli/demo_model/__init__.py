"""An OpenAI-compatible server without a model: scripted answers, and failures on request.

The name of the model chooses the behaviour (:mod:`parley_cli.demo_model.behaviours`). It is also what tests and
benchmarks run against, so a token costs it a few microseconds, and it counts what its clients did (``GET /stats``).
"""
