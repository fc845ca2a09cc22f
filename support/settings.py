"""The settings of a run: the values of the flags that decide its numbers."""

from types import SimpleNamespace

from absl import flags


class Config(SimpleNamespace):
    """All that decides a run's numbers: config.dropout is the value of the flag --dropout."""


def from_flags(values: flags.FlagValues, *groups: str, defaults: dict[str, dict] | None = None
               ) -> Config:
    """The flags of these groups. A flag's group is the module_name it was defined with.

    defaults: for each network what is taken for flags that were not given.
    """
    config = Config(**{flag.name: flag.value for flag in flags_of(values, *groups)})
    for name, default in (defaults[config.arch] if defaults else {}).items():
        if getattr(config, name) is None:
            setattr(config, name, default)
    return config


def flags_of(values: flags.FlagValues, *groups: str) -> list[flags.Flag]:
    return [flag for group in groups for flag in values.get_flags_for_module(group)]
