"""The web side: a socket that starts a task for each message and forwards what the group is sent."""
# mypy: ignore-errors

import json
import os

from django.core.asgi import get_asgi_application

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "celery_channels.settings")
django_application = get_asgi_application()

from celery_channels.models import Message  # noqa: E402
from celery_channels.tasks import answer  # noqa: E402
from channels.generic.websocket import AsyncWebsocketConsumer  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from django.urls import path  # noqa: E402


class ChatConsumer(AsyncWebsocketConsumer):
    async def connect(self):
        self.group = f"chat_{self.scope['url_route']['kwargs']['room']}"
        await self.channel_layer.group_add(self.group, self.channel_name)
        await self.accept()

    async def disconnect(self, code):
        await self.channel_layer.group_discard(self.group, self.channel_name)

    async def receive(self, text_data):
        asked = json.loads(text_data)
        message = await Message.objects.acreate()
        answer.delay(message.id, self.group, asked["content"], asked["model"])

    async def chat_message(self, event):
        await self.send(text_data=event["html"])


application = ProtocolTypeRouter(
    {
        "http": django_application,
        "websocket": URLRouter([path("ws/<str:room>/", ChatConsumer.as_asgi())]),
    }
)
