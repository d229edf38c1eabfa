import json

from anthropic import Anthropic

client = Anthropic(api_key="none", max_retries=0, timeout=10)
messages = [{"role": "user", "content": "Hello"}]
print(json.dumps({"id": client.messages.create(model="any", max_tokens=1, messages=messages).id}))
