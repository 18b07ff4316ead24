"""The bedside dashboard: a client of the engine that draws what it is told, and nothing else.

It may hang, crash, or never start; the engine does not notice.
"""

import os

os.environ.setdefault("PYQTGRAPH_QT_LIB", "PySide6")  # before pyqtgraph is imported, which else takes what it finds
