"""Three protocols through LiteLLM, and the errors on which its fallbacks depend."""

import os

import litellm

litellm.suppress_debug_info = True
url, chat = os.environ["GATEWAY"], os.environ["CHAT"]
ROUTES = {
    f"openai/{chat}": {"api_base": f"{url}/v1", "api_key": "unused"},
    f"anthropic/{chat}": {"api_base": url, "api_key": "unused"},
    f"ollama_chat/{chat}": {"api_base": url},
}
QUESTION = [{"role": "user", "content": "What is the capital of France?"}]
for route, where in ROUTES.items():
    answer = litellm.completion(route, QUESTION, max_tokens=32, temperature=0, **where)
    said = answer.choices[0].message
    assert "Paris" in said.content, answer
    again = [*QUESTION, said.model_dump(), {"role": "user", "content": "And of Italy?"}]
    litellm.completion(route, again, max_tokens=8, temperature=0, **where)

LONG = [{"role": "user", "content": "word " * 5000}]
for route, where in list(ROUTES.items())[:2]:
    try:
        litellm.completion(route, LONG, max_tokens=8, **where)
    except litellm.ContextWindowExceededError:
        continue
    raise AssertionError(f"{route}: a long prompt was not recognised")

# the model that takes over from one whose context is too small
longer = {"model": f"ollama_chat/{chat}", "api_base": url}
answer = litellm.completion(
    f"openai/{chat}", LONG, max_tokens=8, api_base=f"{url}/v1", api_key="unused", fallbacks=[longer]
)
assert answer.choices, answer

for route, where in ROUTES.items():
    told = ""
    try:
        litellm.completion(route.replace(chat, "no-such-model"), QUESTION, max_tokens=8, **where)
    except litellm.NotFoundError:
        continue
    except litellm.APIConnectionError as error:  # what LiteLLM makes of any error of Ollama's
        told = str(error)
    assert route.startswith("ollama"), f"{route}: an unknown model was not recognised"
    assert "model 'no-such-model' not found" in told, told
