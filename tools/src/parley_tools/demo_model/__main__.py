"""``python -m parley_tools.demo_model --port 8002``"""

import sys

from parley_tools.cli import main

sys.exit(main(["demo-model", *sys.argv[1:]]))
