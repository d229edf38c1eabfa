import json

from openai import OpenAI

client = OpenAI(api_key="none", max_retries=0, timeout=10)
messages = [{"role": "user", "content": "Hello"}]
print(json.dumps({"id": client.chat.completions.create(model="any", messages=messages).id}))
