"""Two published lists of BioVid's subject codes, so that a report can say which people it used."""

from __future__ import annotations

from typing import Final

NON_REACTIVE: Final = (
    "082315_w_60",
    "082414_m_64",
    "082909_m_47",
    "083009_w_42",
    "083013_w_47",
    "083109_m_60",
    "083114_w_55",
    "091914_m_46",
    "092009_m_54",
    "092014_m_56",
    "092509_w_51",
    "092714_m_64",
    "100514_w_51",
    "100914_m_39",
    "101114_w_37",
    "101209_w_61",
    "101809_m_59",
    "101916_m_40",
    "111313_m_64",
    "120614_w_61",
)
"""The 20 subjects whom part of the literature leaves out because they hardly reacted (67 stay). Leaving people out by
their reaction makes every figure better than it would be at a bedside."""

HOLD_OUT: Final = (
    "100914_m_39",
    "101114_w_37",
    "082315_w_60",
    "083114_w_55",
    "083109_m_60",
    "072514_m_27",
    "080309_m_29",
    "112016_m_25",
    "112310_m_20",
    "092813_w_24",
    "112809_w_23",
    "112909_w_20",
    "071313_m_41",
    "101309_m_48",
    "101609_m_36",
    "091809_w_43",
    "102214_w_36",
    "102316_w_50",
    "112009_w_43",
    "101814_m_58",
    "101908_m_61",
    "102309_m_61",
    "112209_m_51",
    "112610_w_60",
    "112914_w_51",
    "120514_w_56",
)
"""The 26 subjects of the proposed official hold-out; the other 61 train."""
