"""The task that streams an answer: for every chunk the message is saved, rendered and sent again, whole."""
# mypy: ignore-errors

import os

import django
from celery import Celery

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "celery_channels.settings")
django.setup()

from asgiref.sync import async_to_sync  # noqa: E402
from celery_channels.models import Message  # noqa: E402
from channels.layers import get_channel_layer  # noqa: E402
from django.template import Context, Engine  # noqa: E402
from openai import OpenAI  # noqa: E402

app = Celery("celery_channels", broker=os.environ["PEER_REDIS"])
app.conf.task_ignore_result = True
app.conf.broker_connection_retry_on_startup = True

_TEMPLATE = Engine().from_string('<div id="message-{{ id }}"><p>{{ content|linebreaksbr }}</p></div>')


@app.task
def answer(message_id: int, group: str, content: str, model: str) -> None:
    message = Message.objects.get(id=message_id)
    send = async_to_sync(get_channel_layer().group_send)
    client = OpenAI(base_url=os.environ["PEER_MODEL"], api_key="demo")
    chunks = client.chat.completions.create(model=model, messages=[{"role": "user", "content": content}], stream=True)
    for chunk in chunks:
        if chunk.choices and (text := chunk.choices[0].delta.content):
            message.content += text
            message.save()
            html = _TEMPLATE.render(Context({"id": message.id, "content": message.content}))
            send(group, {"type": "chat.message", "html": html})
