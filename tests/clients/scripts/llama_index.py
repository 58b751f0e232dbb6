"""Chat, completion, a stream and vectors through LlamaIndex's Ollama classes."""

import os

from llama_index.core.llms import ChatMessage
from llama_index.embeddings.ollama import OllamaEmbedding
from llama_index.llms.ollama import Ollama

url, chat, embedding = (os.environ[name] for name in ("GATEWAY", "CHAT", "EMBEDDING"))
model = Ollama(
    model=chat,
    base_url=url,
    temperature=0,
    request_timeout=300,
    context_window=2048,
    additional_kwargs={"num_predict": 48},
)
question = [ChatMessage(role="user", content="What is the capital of France?")]
answer = model.chat(question)
assert "Paris" in str(answer.message.content), answer
joined = "".join(part.delta or "" for part in model.stream_chat(question))
assert joined == answer.message.content, joined
assert str(model.complete("The capital of France is"))
vector = OllamaEmbedding(model_name=embedding, base_url=url).get_text_embedding("a cat")
assert len(vector) == 384
