"""``python -m parley_cli.demo_model --port 8002``"""

import sys

from parley_cli.main import main

sys.exit(main(["demo-model", *sys.argv[1:]]))
