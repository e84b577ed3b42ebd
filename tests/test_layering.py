"""Modules import only from lower layers or their own part, no imports form a cycle, and light imports stay light."""

import ast
import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
LAYERS = [  # lowest first; a part is a module or a package, and the longest name counts
    {
        "hunyuanocr",
        "hunyuanocr.aio",
        "hunyuanocr.chinese",
        "hunyuanocr.client_regex",
        "hunyuanocr.clock",
        "hunyuanocr.config",
        "hunyuanocr.cpu_count",
        "hunyuanocr.error_texts",
        "hunyuanocr.errors",
        "hunyuanocr.files",
        "hunyuanocr.ids",
        "hunyuanocr.lan",
        "hunyuanocr.line_plot",
        "hunyuanocr.log_limits",
        "hunyuanocr.log_setup",
        "hunyuanocr.malloc",
        "hunyuanocr.schema_validator",
        "hunyuanocr.telemetry",
        "hunyuanocr.types",
    },
    {"hunyuanocr.image_quality", "hunyuanocr.grammar", "hunyuanocr.result_schema"},
    # fields
    {"hunyuanocr.fields.folding", "hunyuanocr.fields.rules.document_kind"},
    {"hunyuanocr.fields.catalogue", "hunyuanocr.fields.layout", "hunyuanocr.fields.rules.label_inference"},
    {"hunyuanocr.fields.values", "hunyuanocr.fields.line_items.header", "hunyuanocr.fields.rules.label_words"},
    {"hunyuanocr.fields.grounding", "hunyuanocr.fields.rules.labels"},
    {"hunyuanocr.fields.field_builder", "hunyuanocr.fields.rules.page_analysis"},
    {"hunyuanocr.fields.line_items", "hunyuanocr.fields.ranking"},
    {"hunyuanocr.fields.declared", "hunyuanocr.fields.rules", "hunyuanocr.fields.schema", "hunyuanocr.fields.unknown"},
    {"hunyuanocr.fields.documents"},
    {"hunyuanocr.fields"},
    {"hunyuanocr.images", "hunyuanocr.output", "hunyuanocr.weights"},
    {"hunyuanocr.instructions"},
    {"hunyuanocr.prompts"},
    # backends
    {"hunyuanocr.backends.base", "hunyuanocr.bundle"},
    {
        "hunyuanocr.backends.fake",
        "hunyuanocr.backends.ppocr",
        "hunyuanocr.backends.torch_local",
        "hunyuanocr.backends.vllm_server",
        "hunyuanocr.backends.vlm",
    },
    {"hunyuanocr.backends"},
    {"hunyuanocr.pipeline", "hunyuanocr.store"},
    # services
    {
        "hunyuanocr.services",
        "hunyuanocr.services.api_keys",
        "hunyuanocr.services.background_reader",
        "hunyuanocr.services.csv_safety",
        "hunyuanocr.services.encryption",
        "hunyuanocr.services.model_memory",
        "hunyuanocr.services.recorder",
        "hunyuanocr.services.timekeeper",
        "hunyuanocr.services.webhook_lanes",
    },
    {
        "hunyuanocr.services.camera",
        "hunyuanocr.services.jobs",
        "hunyuanocr.services.retention",
        "hunyuanocr.services.sync",
        "hunyuanocr.services.watch",
        "hunyuanocr.services.webhook_client",
    },
    {
        "hunyuanocr.services.ephemeral",
        "hunyuanocr.services.metrics",
        "hunyuanocr.services.serializers",
        "hunyuanocr.services.webhooks",
    },
    {"hunyuanocr.services.container"},
    {"hunyuanocr.evaluate"},
    {"hunyuanocr.finetune"},
    {"hunyuanocr.loadtest"},
    {"hunyuanocr.cli"},
    # api: protocol and limits, authentication, schemas, routes, the app
    {"api", "api.charset", "api.exit_watchdog", "api.json_limits", "api.limits", "api.openapi", "api.validation_errors"},
    {"api.multipart"},
    {"api.errors"},
    {"api.middleware", "api.network", "api.sse"},
    {"api.uvicorn_config"},
    {"api.auth", "api.hq_receiver"},
    {"api.deps", "api.schemas"},
    {"api.ignored_keys"},
    {"api.base64_images", "api.exports"},
    {"api.request_body"},
    {"api.camera_protocol", "api.chat_completions"},
    {"api.camera_connection"},
    {"api.routes"},
    {"api.lifespan", "api.middleware_stack"},
    {"api.app"},
    {"web"},
    {"app_web"},
]
LEVEL = {part: level for level, parts in enumerate(LAYERS) for part in parts}
CONTAINERS = {"hunyuanocr", "hunyuanocr.fields", "hunyuanocr.backends", "hunyuanocr.services", "api"}  # match no module in them
TOPS = ("hunyuanocr", "api", "web", "app_web", "synthesis", "demo_model", "bench")
Graph = Mapping[str, set[str]]


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def part_of(module: str) -> str:
    """The longest known part that contains the module, or the module itself."""
    names = module.split(".")
    for n in range(len(names), 0, -1):
        part = ".".join(names[:n])
        if part in LEVEL and (part == module or part not in CONTAINERS):
            return part
    return module


def sources() -> list[Path]:
    return [ROOT / "app_web.py", *(p for top in ("hunyuanocr", "api", "web") for p in sorted((ROOT / top).rglob("*.py")))]


def exists(module: str) -> bool:
    path = ROOT.joinpath(*module.split("."))
    return path.with_suffix(".py").exists() or (path / "__init__.py").exists()


def imports(path: Path) -> set[str]:
    """Modules of this project that a file imports, also inside functions; not those for type checking only."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")
        for statement in node.body
        for inner in ast.walk(statement)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports are not used"
            names = {alias.name: f"{node.module}.{alias.name}" for alias in node.names}
            found |= {full if exists(full) else str(node.module) for full in names.values()}
    return {name for name in found if name.split(".")[0] in TOPS}


def violations(path: Path) -> list[str]:
    module = module_of(path)
    part = part_of(module)
    if part not in LEVEL:
        return [f"{module}: this part has no layer; add it to LAYERS"]
    bad = []
    for imported in imports(path):
        target = part_of(imported)
        if target == part:
            continue
        if target not in LEVEL or not (LEVEL[target] < LEVEL[part] or LEVEL[target] == LEVEL[part] == 0):
            bad.append(f"{module} (layer {LEVEL[part] + 1}) imports {imported}")
    return bad


def cycles(graph: Graph) -> list[list[str]]:
    """The strongly connected components of more than one node (R. Tarjan, SIAM J. Comput. 1972)."""
    index: dict[str, int] = {}
    low: dict[str, int] = {}
    stack: list[str] = []
    found: list[list[str]] = []

    def visit(node: str) -> None:
        index[node] = low[node] = len(index)
        stack.append(node)
        for target in graph.get(node, ()):
            if target not in index:
                visit(target)
                low[node] = min(low[node], low[target])
            elif target in stack:
                low[node] = min(low[node], index[target])
        if low[node] == index[node]:
            component = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(component) > 1:
                found.append(sorted(component))

    for node in graph:
        if node not in index:
            visit(node)
    return found


@pytest.mark.parametrize("path", sources(), ids=module_of)
def test_imports_point_downwards(path: Any) -> None:
    assert violations(path) == []


def test_a_wrong_import_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    wrong = tmp_path / "hunyuanocr" / "fields" / "values" / "x.py"
    wrong.parent.mkdir(parents=True)
    wrong.write_text("def f():\n    from api.app import create_app\n    import hunyuanocr.pipeline\n")
    assert len(violations(wrong)) == 2
    unknown = tmp_path / "hunyuanocr" / "services" / "x.py"
    unknown.parent.mkdir(parents=True)
    unknown.write_text("import api.app\n")
    assert "no layer" in violations(unknown)[0]


def test_every_part_exists() -> None:
    assert {part for part in LEVEL if not exists(part)} == set()


def test_no_imports_form_a_cycle() -> None:
    assert cycles({module_of(path): imports(path) for path in sources()}) == []


def test_a_cycle_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys.modules[__name__], "ROOT", tmp_path)
    package = tmp_path / "api"
    package.mkdir()
    files = {
        "a": "from api import b\nfrom typing import TYPE_CHECKING\n",
        "b": "def f():\n    from api.c import x\n",
        "c": "import api.a\n",
        "d": "import api.a\nif TYPE_CHECKING:\n    import api.e\n",
        "e": "import api.d\n",
    }
    for name, text in files.items():
        (package / f"{name}.py").write_text(text)
    graph = {module_of(path): imports(path) for path in package.glob("*.py")}
    assert cycles(graph) == [["api.a", "api.b", "api.c"]]


def test_the_command_line_imports_nothing_above_it() -> None:
    """It runs the programs of higher layers by name (`run_program`), and those exist."""
    folder = ROOT / "hunyuanocr" / "cli"
    imported = {name for path in folder.rglob("*.py") for name in imports(path)}
    assert {name for name in imported if not name.startswith("hunyuanocr")} == set()
    text = "".join(path.read_text(encoding="utf-8") for path in folder.glob("*.py"))
    for program in ("app_web", "api.hq_receiver"):
        assert f'run_program("{program}"' in text
        assert exists(program)


def test_no_backend_imports_another() -> None:
    """Nor does `vlm`, which turns an engine into a backend, import an engine: only the factory knows all of them."""
    folder = ROOT / "hunyuanocr" / "backends"
    for path in folder.rglob("*.py"):
        if path == folder / "__init__.py":
            continue
        own = module_of(path).split(".")[2]
        others = {name for name in imports(path) if name.startswith("hunyuanocr.backends.")}
        assert all(name.split(".")[2] in {own, "base"} for name in others), path


def test_api_and_web_never_name_a_backend() -> None:
    for path in [*(ROOT / "api").rglob("*.py"), *(ROOT / "web").rglob("*.py")]:
        named = {name for name in imports(path) if name.startswith("hunyuanocr.backends.")}
        assert named <= {"hunyuanocr.backends.base"}, path


HEAVY = {
    "torch",
    "transformers",
    "xgrammar",
    "vllm",
    "onnxruntime",
    "openvino",
    "cv2",
    "fastapi",
    "gradio",
    "rapidocr",
    "sqlalchemy",
    "alembic",
}


@pytest.mark.parametrize(
    ("module", "allowed"),
    [
        ("hunyuanocr", set()),
        ("hunyuanocr.types, hunyuanocr.errors, hunyuanocr.config", set()),
        ("hunyuanocr.instructions, hunyuanocr.fields", set()),
        ("hunyuanocr.output, hunyuanocr.weights, hunyuanocr.prompts", set()),
        ("hunyuanocr.backends, hunyuanocr.backends.vlm", set()),
        ("hunyuanocr.pipeline", {"cv2"}),
        ("api.app", {"cv2", "fastapi", "sqlalchemy"}),
    ],
)
def test_light_imports_stay_light(module: str, allowed: set[Any]) -> None:
    code = f"import sys\nimport {module}\nprint(*sorted({HEAVY - allowed!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120, check=True)
    assert done.stdout.split() == []


PRIVATE_IN_TEXT = re.compile(r"\b(?:app_web|hunyuanocr|api|web)(?:\.\w+)*\._[a-z]", re.IGNORECASE)  # paths to patch, code to run


def private_accesses(source: str) -> list[str]:
    """Return "line: code" for each attribute or patched name that starts with one underscore, except on `self` and `cls`."""
    found: list[ast.expr | ast.stmt] = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            own = isinstance(node.value, ast.Name) and node.value.id in {"self", "cls"}
            if is_private(node.attr) and not own:
                found.append(node)
        elif isinstance(node, ast.Call) and ast.unparse(node.func).rpartition(".")[2] in {"setattr", "getattr", "delattr"}:
            names = [arg.value for arg in node.args[:2] if isinstance(arg, ast.Constant) and isinstance(arg.value, str)]
            if any(is_private(name.rpartition(".")[2]) for name in names):
                found.append(node)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            if PRIVATE_IN_TEXT.search(node.value):
                found.append(node)
        elif isinstance(node, ast.ImportFrom):
            ours = str(node.module).split(".")[0] in TOPS
            if ours and any(is_private(alias.name) for alias in node.names):
                found.append(node)
    return [f"{node.lineno}: {ast.unparse(node)}" for node in found]


def is_private(name: str) -> bool:
    return name.startswith("_") and not name.startswith("__")


@pytest.mark.parametrize("path", sorted((ROOT / "tests").rglob("*.py")), ids=lambda path: str(path.relative_to(ROOT)))
def test_tests_use_only_public_names(path: Any) -> None:
    """Clocks, intervals and limits are injected through constructors, settings or public attributes."""
    if path != Path(__file__):  # which holds the examples below
        assert private_accesses(path.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize(
    "code",
    [
        "assert sender._queue == []",
        "monkeypatch.setattr(webhooks, '_FIRST_S', 0.1)",
        "monkeypatch.setattr('hunyuanocr.store.outbox._MAX_RECORDS', 5)",
        "getattr(pipeline, '_state')",
        "run('-c', 'import app_web; app_web._apps(settings)')",
        "from hunyuanocr.services.jobs.worker import _recover",
    ],
)
def test_a_private_access_is_found(code: str) -> None:
    found = private_accesses(f"def f():\n    {code}\n")
    assert found
    assert all(place.startswith("2: ") for place in found)


@pytest.mark.parametrize("code", ["self._count += 1", "cls._made = []", "point.__class__", "_helper()", "from re import _parser"])
def test_own_attributes_are_not_private_accesses(code: str) -> None:
    assert private_accesses(code) == []
