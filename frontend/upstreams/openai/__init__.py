"""Servers that speak OpenAI's API: vLLM, TGI, llama.cpp, LM Studio, mistral.rs, OpenAI itself."""
