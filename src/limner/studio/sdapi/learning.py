"""The webui's training of embeddings."""

from fastapi import APIRouter

router = APIRouter()
