"""Read --cfg-options as MMEngine does, but keep the white space in paths."""

from typing import Any

from mmengine.config import DictAction


class OptionsAction(DictAction):
    """Turn `key=value` words into a dict of settings.

    MMEngine takes all white space out of a value, so that `data_root=/home/ada/my data` leads
    elsewhere. Here a single value keeps it; in lists and tuples it goes, as MMEngine has it.
    """

    @staticmethod
    def _parse_iterable(val: str) -> Any:
        """Turn a word's value into a number, truth value, None, text, list or tuple."""
        plain = val.strip("'\"").strip()
        if "," in plain or plain.startswith(("[", "(")):
            return DictAction._parse_iterable(val)
        return DictAction._parse_int_float_bool(plain)
