"""What tests are made with: servers, clients, browsers, providers and services of their own."""

from pathlib import Path

#: The directory of the repository.
ROOT = Path(__file__).resolve().parents[2]
