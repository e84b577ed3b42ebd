"""The house stands: a file imports only from lower layers or its own folder, and light imports stay light."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = [  # lowest first; a room is a module or a package
    {
        "hunyuanocr",
        "hunyuanocr.types",
        "hunyuanocr.errors",
        "hunyuanocr.config",
        "hunyuanocr.telemetry",
        "hunyuanocr.log_setup",
        "hunyuanocr.log_limits",
        "hunyuanocr.malloc",
        "hunyuanocr.cpu_count",
        "hunyuanocr.aio",
        "hunyuanocr.files",
        "hunyuanocr.lan",
        "hunyuanocr.clock",
        "hunyuanocr.client_regex",
        "hunyuanocr.schema_validator",
    },
    {"hunyuanocr.image_quality", "hunyuanocr.instruction_patterns", "hunyuanocr.grammar"},
    {"hunyuanocr.images", "hunyuanocr.enhance", "hunyuanocr.fields", "hunyuanocr.output", "hunyuanocr.weights"},
    {"hunyuanocr.instructions"},
    {"hunyuanocr.prompts"},
    {"hunyuanocr.backends", "hunyuanocr.bundle"},
    {"hunyuanocr.pipeline", "hunyuanocr.store"},
    {"hunyuanocr.services"},
    {"hunyuanocr.evaluate"},
    {"hunyuanocr.finetune"},
    {"hunyuanocr.loadtest"},
    {"api"},
    {"web"},
    {"app_web"},
    {"hunyuanocr.cli"},
]
LEVEL = {room: level for level, rooms in enumerate(LAYERS) for room in rooms}
TOPS = ("hunyuanocr", "api", "web", "app_web", "synthesis", "demo_model", "bench")


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def room_of(module: str) -> str:
    """The longest known room that the module lies in."""
    parts = module.split(".")
    for n in range(len(parts), 0, -1):
        if ".".join(parts[:n]) in LEVEL and (n > 1 or parts[0] != "hunyuanocr" or len(parts) == 1):
            return ".".join(parts[:n])
    return module


def sources() -> list[Path]:
    tracked = [ROOT / "app_web.py", *(p for top in ("hunyuanocr", "api", "web") for p in (ROOT / top).rglob("*.py"))]
    return [p for p in tracked if p.exists()]


def imports(path: Path) -> set[str]:
    """Modules of ours that a file imports, inside functions as well; not those for type checking only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            found |= {f"{node.module}.{a.name}" if node.module == "hunyuanocr" else node.module for a in node.names}
    return {name for name in found if name.split(".")[0] in TOPS}


def violations(path: Path) -> list[str]:
    module = module_of(path)
    room = room_of(module)
    if room not in LEVEL:
        return [f"{module}: no layer is given for this room; add it to LAYERS"]
    bad = []
    for imported in imports(path):
        target = room_of(imported)
        if target not in LEVEL and target.startswith("hunyuanocr."):  # `from hunyuanocr import __version__`
            target = "hunyuanocr"
        if target == room:
            continue
        allowed = target in LEVEL and (LEVEL[target] < LEVEL[room] or (LEVEL[target] == LEVEL[room] == 0))
        if not allowed:
            bad.append(f"{module} (layer {LEVEL[room] + 1}) imports {imported}")
    return bad


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_imports_point_downwards(path):
    assert violations(path) == []


def test_a_wrong_import_is_found(tmp_path, monkeypatch):
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    wrong = tmp_path / "hunyuanocr" / "fields" / "x.py"
    wrong.parent.mkdir(parents=True)
    wrong.write_text("def f():\n    from api.app import create_app\n    import hunyuanocr.pipeline\n")
    assert len(violations(wrong)) == 2


def test_no_reader_imports_another():
    """Nor does what makes a reader of an engine (`vlm`) know an engine: only the factory knows all of them."""
    folder = ROOT / "hunyuanocr" / "backends"
    for path in folder.rglob("*.py"):
        if path == folder / "__init__.py":
            continue
        own = module_of(path).split(".")[2]
        others = {name for name in imports(path) if name.startswith("hunyuanocr.backends.")}
        assert all(name.split(".")[2] in {own, "base"} for name in others), path


def test_api_and_web_never_name_a_reader():
    for path in [*(ROOT / "api").rglob("*.py"), *(ROOT / "web").rglob("*.py")]:
        named = {name for name in imports(path) if name.startswith("hunyuanocr.backends.")}
        assert named <= {"hunyuanocr.backends.base"}, path


HEAVY = {
    "torch", "transformers", "xgrammar", "vllm", "onnxruntime", "openvino", "cv2", "fastapi", "gradio", "rapidocr", "sqlalchemy",
    "alembic",
}  # fmt: skip


@pytest.mark.parametrize(("module", "allowed"), [
    ("hunyuanocr", set()),
    ("hunyuanocr.types, hunyuanocr.errors, hunyuanocr.config", set()),
    ("hunyuanocr.instructions, hunyuanocr.fields", set()),
    ("hunyuanocr.output, hunyuanocr.weights, hunyuanocr.prompts", set()),
    ("hunyuanocr.backends, hunyuanocr.backends.vlm", set()),
    ("hunyuanocr.pipeline", {"cv2"}),
    ("api.app", {"cv2", "fastapi", "sqlalchemy"}),
])
def test_light_imports_stay_light(module, allowed):
    code = f"import sys\nimport {module}\nprint(*sorted({HEAVY - allowed!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == []
