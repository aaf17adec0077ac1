"""A fake chat-store for the tests of its callers; ``tests/integration/chat_store/test_contract.py`` compares both."""
