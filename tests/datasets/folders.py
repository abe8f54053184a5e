"""What stands in a folder, and what a command said."""


def contents(folder):
    """All files below a folder by relative name, hidden ones left out."""
    paths = [p for p in folder.rglob("*") if p.is_file()]
    return {str(n): p.read_bytes() for p in paths if not (n := p.relative_to(folder)).name.startswith(".")}


def one_line(capsys):
    """The only line on stderr."""
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    return said
