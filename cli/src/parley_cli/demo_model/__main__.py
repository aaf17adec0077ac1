"""``python -m parley_cli.demo_model --port 8002``: without Typer, which the demo model's image does not contain."""

import argparse
import sys

from parley_cli.demo_model.command import serve

parser = argparse.ArgumentParser(prog="python -m parley_cli.demo_model")
parser.add_argument("--host", default="127.0.0.1")
parser.add_argument("--port", type=int, choices=range(65_536), default=8002, metavar="PORT", help="0: any free one")
options = parser.parse_args()
sys.exit(serve(options.host, options.port))
