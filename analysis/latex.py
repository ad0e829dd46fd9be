"""Frames of text to LaTeX: a ``tabular`` with booktabs' rules that compiles as it is.

The document needs ``\\usepackage{booktabs}`` and nothing else. Whatever a name holds is set as text, never read as a
command.
"""

import re
from collections.abc import Mapping
from types import MappingProxyType

import pandas as pd

from analysis.printing import MISSING

_ESCAPED: Mapping[str, str] = MappingProxyType(
    {
        "\\": r"\textbackslash{}", "{": r"\{", "}": r"\}", "$": r"\$", "%": r"\%", "&": r"\&", "#": r"\#", "_": r"\_",
        "^": r"\textasciicircum{}", "~": r"\textasciitilde{}", "<": r"\textless{}", ">": r"\textgreater{}",
        "−": "$-$", "–": "--", "—": "---", "×": r"$\times$", "±": r"$\pm$", "≤": r"$\le$", "≥": r"$\ge$",
        "→": r"$\to$", "∞": r"$\infty$", "†": r"$^{\dagger}$", "…": r"\dots{}", "α": r"$\alpha$", "λ": r"$\lambda$",
        "η": r"$\eta$", "²": r"$^2$", "’": "'",
    }
)  # fmt: skip
_NUMBER = re.compile(r"[+\-−]?\d.*|" + MISSING)


def to_latex(frame: pd.DataFrame, note: str = "") -> str:
    """A frame of text as a LaTeX ``tabular``, ending in a newline; numbers are set to the right.

    Args:
        frame: Text under printed headings; a unit in parentheses goes to a line of its own.
        note: A sentence below the table: what its marks mean.

    Example:
        >>> print(to_latex(pd.DataFrame({"method": ["A_1"], "ID (%)": ["-1.0 *"]})), end="")
        \\begin{tabular}{lr}
        \\toprule
        method & \\shortstack[r]{ID\\\\(\\%)} \\\\
        \\midrule
        A\\_1 & $-$1.0$^{*}$ \\\\
        \\bottomrule
        \\end{tabular}
    """
    cells = frame.astype(str)
    sides = ["r" if len(cells) and all(map(_NUMBER.fullmatch, cells.iloc[:, position])) else "l"
             for position in range(frame.shape[1])]  # fmt: skip
    heading = " & ".join(_heading(str(name), side) for name, side in zip(frame.columns, sides)) + r" \\"
    rows = [" & ".join(map(tex, line)) + r" \\" for line in cells.to_numpy().tolist()]
    lines = [rf"\begin{{tabular}}{{{''.join(sides)}}}", r"\toprule", heading, r"\midrule", *rows, r"\bottomrule",
             r"\end{tabular}"]  # fmt: skip
    if note:
        lines += ["", r"\smallskip", rf"{{\footnotesize {tex(note)}\par}}"]
    return "\n".join(lines) + "\n"


def tex(text: str) -> str:
    r"""Text as LaTeX sets it: its special characters escaped, minus signs and marks of significance as such.

    Example:
        >>> tex("50 % of R&D [-1, 2] *")
        '50 \\% of R\\&D {[}$-$1, 2]$^{*}$'
    """
    # A bracket after a row's end would be taken for the row's height.
    escaped = "".join("{[}" if letter == "[" else _ESCAPED.get(letter, letter) for letter in text)
    escaped = re.sub(r"(?<![\w\-])-(?=\d)", "$-$", escaped)
    return re.sub(r" \*(?= |$)", "$^{*}$", escaped)


def _heading(name: str, side: str) -> str:
    first, opening, unit = name.partition(" (")
    return rf"\shortstack[{side}]{{{tex(first)}\\{tex('(' + unit)}}}" if opening else tex(name)
