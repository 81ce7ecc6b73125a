#!/usr/bin/env python3
"""Runs a command on a terminal of 80 columns, and draws what it leaves there as an SVG.

    docs/terminal_svg.py docs/demo.svg ruvector-snapshot demo
    docs/terminal_svg.py --check docs/demo.svg ruvector-snapshot demo

The first line of the picture is the command. With --check nothing is written: it fails if the lines of the file are not those
that the command prints now, apart from numbers. Needs Python 3.8 and nothing else.
"""

import argparse
import fcntl
import html
import os
import pty
import re
import struct
import sys
import termios
import xml.etree.ElementTree

COLUMNS = 80
CHARACTER_WIDTH = 8.4
LINE_HEIGHT = 19
MARGIN = 16
# The colours of the text for the codes of a terminal, on the dark background that the picture always has.
BACKGROUND, FOREGROUND = "#16181d", "#d7dae0"
COLOURS = {30: "#5c6370", 31: "#ef6b73", 32: "#8fc873", 33: "#e5c07b", 34: "#6cb2f7", 35: "#c98be0", 36: "#5fc4cf", 37: "#d7dae0"}
SEQUENCE = re.compile(r"\x1b\[([0-9;?]*)([A-Za-z])")


def run(command):
    """Returns what a command writes to a terminal of 80 columns, and its exit code."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS=str(COLUMNS), LC_ALL="C.UTF-8")
        os.environ.pop("NO_COLOR", None)
        fcntl.ioctl(1, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
        os.execvp(command[0], command)
    written = b""
    while True:
        try:
            piece = os.read(terminal, 65536)
        except OSError:  # The other side was closed.
            break
        if not piece:
            break
        written += piece
    _, status = os.waitpid(pid, 0)
    return written.decode(), os.waitstatus_to_exitcode(status)


def lines_of(written):
    """Returns the lines that are left on the screen, each as a list of (style, text)."""
    lines = []
    for line in written.replace("\r\n", "\n").rstrip("\n").split("\n"):
        # A progress bar erases its line and starts again.
        line = re.split(r"\x1b\[2K|\r", line)[-1]
        runs, style, at = [], (None, False, False), 0
        for found in SEQUENCE.finditer(line):
            if found.start() > at:
                runs.append((style, line[at : found.start()]))
            at = found.end()
            if found.group(2) == "m":
                style = styled(style, found.group(1))
        if at < len(line):
            runs.append((style, line[at:]))
        lines.append(runs)
    return lines


def styled(style, codes):
    colour, bold, dim = style
    for code in (int(code or 0) for code in codes.split(";")):
        if code == 0:
            colour, bold, dim = None, False, False
        elif code == 1:
            bold = True
        elif code == 2:
            dim = True
        elif code == 22:
            bold = dim = False
        elif code == 39:
            colour = None
        elif code in COLOURS:
            colour = COLOURS[code]
        elif code - 60 in COLOURS:
            colour = COLOURS[code - 60]
    return colour, bold, dim


def svg(lines):
    width = round(COLUMNS * CHARACTER_WIDTH + 2 * MARGIN)
    height = len(lines) * LINE_HEIGHT + 2 * MARGIN
    text = "\n".join("".join(text for _, text in runs) for runs in lines)
    drawn = [
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" role="img">',
        f"<title>{html.escape(text.splitlines()[0])}</title>",
        f'<rect width="{width}" height="{height}" rx="8" fill="{BACKGROUND}"/>',
        f'<g font-family="ui-monospace, SFMono-Regular, Menlo, Consolas, monospace" font-size="14" fill="{FOREGROUND}" xml:space="preserve">',
    ]
    for number, runs in enumerate(lines):
        y = MARGIN + number * LINE_HEIGHT + 14
        spans, column = "", 0
        for (colour, bold, dim), text in runs:
            style = f' fill="{colour}"' if colour else ""
            style += ' font-weight="bold"' if bold else ""
            style += ' opacity="0.65"' if dim else ""
            # Each run starts at its column, whatever font is there.
            x = MARGIN + column * CHARACTER_WIDTH
            spans += f'<tspan x="{x:.1f}"{style} textLength="{len(text) * CHARACTER_WIDTH:.1f}">{html.escape(text)}</tspan>'
            column += len(text)
        drawn.append(f'<text y="{y}">{spans}</text>')
    return "\n".join(drawn) + "\n</g>\n</svg>\n"


def words_of(path):
    """Returns the text of the lines of a picture, with one sign for every number, so that two runs can be compared."""
    texts = xml.etree.ElementTree.parse(path).getroot().iter("{http://www.w3.org/2000/svg}text")
    return [comparable("".join(text.itertext())) for text in texts]


def comparable(line):
    words = (("#" if any(letter.isdigit() for letter in word) else word) for word in line.split())
    return " ".join("UNIT" if re.fullmatch(r"(Ki|Mi|Gi)?B(/s)?,?", word) else word for word in words)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--check", action="store_true")
    parser.add_argument("picture")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    arguments = parser.parse_args()
    written, exit_code = run(arguments.command)
    if exit_code:
        sys.exit(f"{written}\n{' '.join(arguments.command)} ended with exit code {exit_code}")
    prompt = [((COLOURS[32], True, False), "$ "), ((None, True, False), " ".join([os.path.basename(arguments.command[0]), *arguments.command[1:]]))]
    lines = [prompt, *lines_of(written)]
    if not arguments.check:
        with open(arguments.picture, "w", encoding="utf-8") as picture:
            picture.write(svg(lines))
        return
    now = [comparable("".join(text for _, text in runs)) for runs in lines]
    shown = words_of(arguments.picture)
    for was, line in zip([*shown, *[None] * len(now)], [*now, *[None] * len(shown)]):
        if was != line:
            sys.exit(f"{arguments.picture} shows {was!r}, but the command prints {line!r}; draw it again")


main()
