"""OpenAI's wire protocol, with the names and shapes of its API reference and openai-python."""
