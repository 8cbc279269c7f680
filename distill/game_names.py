"""Names of games: ids, the same as files and folders have them, and the titles in both."""

import re


def game_in_names(env_id: str) -> str:
    """Return a game's id as names of files and folders have it."""
    return env_id.replace("/", "-")


def id_in_name(game: str) -> str:
    """Return the id that `game_in_names` wrote so."""
    return re.sub(r"^ALE-", "ALE/", game)


def title_of(env_id: str) -> str:
    """Return a game's title: its id, also as names have it, less what is of actions and version."""
    ends = r"^ALE[/-]|(-ram)?(NoFrameskip|Deterministic)?-v\d+$"
    return re.sub(ends, "", env_id, flags=re.IGNORECASE)
