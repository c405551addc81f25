"""Write the generated parts of the documentation again.

    python -m docs.generate

Each part stands between ``<!-- name -->`` and ``<!-- end -->`` on its page. A test compares both.
"""

from __future__ import annotations

from docs.generate.pages import write_all

if __name__ == "__main__":
    for path in write_all():
        print(path)
