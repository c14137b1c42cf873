"""Webhooks on their way out."""

from runtime.courier.courier import Courier as Courier
from runtime.courier.sender import Sender as Sender
