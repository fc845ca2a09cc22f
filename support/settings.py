"""The settings of a run: the values of the flags that decide its numbers."""

from types import SimpleNamespace

from absl import flags


class Config(SimpleNamespace):
    """All that decides a run's numbers: config.dropout is the value of the flag --dropout."""


def from_flags(values: flags.FlagValues, *groups: str) -> Config:
    """The flags of these groups. A flag's group is the module_name it was defined with."""
    return Config(**{flag.name: flag.value for flag in flags_of(values, *groups)})


def flags_of(values: flags.FlagValues, *groups: str) -> list[flags.Flag]:
    return [flag for group in groups for flag in values.get_flags_for_module(group)]
