"""`myosem-edge keys`: the keys that sign bundles, and the ones this machine trusts."""

from __future__ import annotations

from pathlib import Path

import click

from myosem_edge import keys as store
from myosem_edge.cli._output import json_option, print_json, table


@click.group()
def keys() -> None:
    """The keys that sign bundles and the ones trusted here."""


@keys.command()
@click.argument("name")
def new(name: str) -> None:
    """Make a key pair called NAME and trust it here.

    A key called dev or dev-SOMETHING signs bundles for emulated hands only.
    """
    private = store.new_key(name)
    click.echo(f"Made {name}, key id {store.key_id(private.public_key())}.")
    click.echo(f"Private, keep it here: {store.private_path(name)}")
    click.echo(f"Public, give it to the boards: {store.public_path(name)}")


@keys.command("list")
@json_option
def list_keys(as_json: bool) -> None:
    """List the keys trusted here."""
    trusted = store.trusted_keys()
    rows = [
        {
            "id": identity,
            "name": key.name,
            "dev": key.is_dev,
            "private": store.private_path(key.name).exists(),
            "path": str(store.public_path(key.name)),
        }
        for identity, key in trusted.items()
    ]
    if as_json:
        print_json(rows)
    elif not rows:
        click.echo(
            "No trusted keys. Make one: myosem-edge keys new NAME. Trust a maker's: myosem-edge keys trust FILE."
        )
    else:
        uses = [
            ("emulated hands only" if row["dev"] else "any hand", "yes" if row["private"] else "no") for row in rows
        ]
        lines = [(row["id"], row["name"], *use) for row, use in zip(rows, uses, strict=True)]
        click.echo(table(lines, ("key id", "name", "for", "signs here")))


@keys.command()
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--name", help="Call it this instead of by the file's name.")
def trust(file: Path, name: str | None) -> None:
    """Trust the public key in FILE (PEM, or 64 hexadecimal digits)."""
    key = store.trust(file, name)
    use = "for emulated hands only" if key.is_dev else "for any hand"
    click.echo(f"Trusting {key.name}, key id {store.key_id(key.public)}, {use}.")


@keys.command()
@click.argument("name")
def forget(name: str) -> None:
    """Stop trusting the key called NAME. A private key stays."""
    click.echo(f"Forgot {name}: removed {store.forget(name)}.")


@keys.command()
def path() -> None:
    """Print the folder of the trusted keys."""
    click.echo(store.trust_folder())
