"""What chat-store answers is what the contracts name."""

from typing import cast

from chat_store.rpc.handlers import Queries, verbs
from parley.contracts import rpc


def test_every_request_of_the_contracts_has_an_answer_and_no_other_has() -> None:
    queries = cast(Queries, Queries)  # its methods are enough
    assert list(verbs(queries)) == list(rpc.STORE_REQUESTS.values())


def test_no_request_with_a_verb_is_left_out() -> None:
    named = {value for value in vars(rpc).values() if isinstance(value, type) and hasattr(value, "VERB")}
    assert named == set(rpc.STORE_REQUESTS.values())
