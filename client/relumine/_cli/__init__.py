"""The commands of ``relumine``, one module each. Importing one loads neither torch nor httpx nor pydantic."""
