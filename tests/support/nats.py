"""What tests need of a NATS client beyond the library."""

from nats.aio.client import Client


async def settled(nc: Client) -> None:
    """Return once the server has handled all that was sent, subscriptions too.

    nats-py writes the PING of a flush ahead of what is still pending; so it is the second one that says so.
    """
    await nc.flush()
    await nc.flush()
