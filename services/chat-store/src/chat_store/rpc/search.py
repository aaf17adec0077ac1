"""Search."""

from faststream.nats import NatsRouter

from chat_store.domain import cursors, search
from chat_store.domain.cursors import BeforeHit
from chat_store.rpc.context import Store, page_size
from chat_store.rpc.routing import handles
from parley.contracts import rpc

router = NatsRouter()


@handles(router, rpc.Search)
async def search_messages(request: rpc.Search, store: Store) -> rpc.SearchReply:
    """Return the messages with every word of the query, first those with the query as a whole."""
    before = None if request.before is None else cursors.decode(request.before, BeforeHit)
    limit = page_size(request.limit)
    query = search.read(request.query)
    if query is None:
        return rpc.SearchReply(items=[], next=None)
    found = await store.searches.run(
        request.user_id, query, search_id=request.search_id, before=before, limit=limit + 1
    )
    following = None
    if len(found) > limit:
        last = found[limit - 1]
        following = cursors.encode(
            BeforeHit(rank=last.rank, created_at=last.created_at, chat_id=last.chat_id, message_id=last.message_id)
        )
    items = [
        rpc.SearchHit(
            chat_id=row.chat_id,
            chat_title=row.chat_title,
            message_id=row.message_id,
            role=row.role,
            excerpt=search.excerpt(row.around, query),
        )
        for row in found[:limit]
    ]
    return rpc.SearchReply(items=items, next=following)
