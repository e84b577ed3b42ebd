"""The task of an instruction: known prompts of HunyuanOCR and of other tools, then words such as "translate" or "table"."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

from hunyuanocr.chinese import to_simplified
from hunyuanocr.fields.catalogue import lookup, normalise_key
from hunyuanocr.instructions.clauses import strip_clauses
from hunyuanocr.instructions.names import extract_field_names, is_field_like
from hunyuanocr.instructions.patterns import DOCUMENT, LOCATION, POLITE, QUESTION, VERBS, alternation
from hunyuanocr.types import TaskKind

_TEXT_ZH = r"(?:文字|文本|内容|(?<![数名签罚大打])字)(?:内容|行|信息)?"
_ALL = "(?:all|full|any|every|whole|everything|entire|complete)"
TRANSLATE = alternation("翻译|译成|译为|翻成", "translate|translation")
TASK_PATTERNS: tuple[tuple[TaskKind, str], ...] = (  # tried in this order
    (
        TaskKind.PARSE,
        alternation(
            "(?:文档|图片|页面|全文)[^,。表]{0,4}(?:转|输出|解析)[成为]? ?markdown",
            rf"(?:convert|turn|transform|export)(?: (?:it|this|everything|(?:the|this) {DOCUMENT}))* (?:to|into|"
            rf"as) (?:an? )?markdown",
        ),
    ),
    (TaskKind.SUBTITLES, alternation("字幕", "subtitles?|captions?")),
    (TaskKind.CHART, alternation("图表|流程图|柱状图|折线图|饼图", "(?:chart|flow ?chart|diagram|graph)s?", "mermaid")),
    (TaskKind.FORMULA, alternation("公式|方程", "latex", "formula[es]?", "equations?")),
    (TaskKind.TABLE, alternation("表格|转成表|html", "tables?(?! *(?:no|number|#))")),
    (
        TaskKind.PARSE,
        alternation(
            "文档解析|(?:解析|结构化)(?:这?[张个份页]|图中的?)?(?:文档|文件|图片|页面|版式)|版式|markdown",
            "parse (?:the |this |a )?(?:document|page|pdf)|document parsing|layout|docling",
        ),
    ),
    (
        TaskKind.SPOT,
        alternation(
            "坐标|文字(?:的?位置|检测)|检测并识别|(?:框|标)出[^,。]{0,4}(?:文字|字|位置)|(?:文字|每行)[^,。]{0,6}位置",
            "(?:bounding )?box(?:es)?|bbox(?:es)?|coordinates?|spotting|(?:text )?(?:positions?|locations?)|text detection",
        ),
    ),
    (
        TaskKind.READ,
        alternation(
            rf"(?:[全所]有?部?|图中的?|图片中的?|上面的?|识别|提取|读取|转录|抄录|输出)[^,，。]{{0,8}}{_TEXT_ZH}[。.!！]?$",
            "^(?:识别|读取?|读图|全文|文字识别|识字|转录|看图|提取)$",
            r"^(?:识别|读取?|看看?|扫描|提取)\s*这?[张个份]?(?:图片?|照片|小票|收据|发票|单[子据]|文档|页面|图像|截图)$",
            "^(?:ocr|text|full text|plain text)$",
            rf"(?:{_ALL}|extract|read|recogni[sz]e|transcribe|output|return|copy|get|convert)"
            r" (?:of )?(?:(?:the|all|only|its|every) ){0,4}(?:printed |visible |plain |raw |full |complete |written )?(?:text|"
            r"words|texts)",
            rf"\btext (?:in|on|from|of) (?:(?:the|this) )?{DOCUMENT}|\b{DOCUMENT} to text\b",
            rf"(?:read|extract|get|show|list|transcribe|return|output) (?:everything|all)(?: (?:in|on|from|of) (?:the|"
            rf"this) {DOCUMENT})?$",
            "(?:read|extract|get|show|list|return) (?:all|every) (?:the )?(?:fields?|info(?:rmation)?|data|details|content)$",
            r"^(?:extract|get|read|return|show|give|list) (?:(?:the|all|any|me) ){0,4}(?:(?:key|main|important|relevant) )?"
            "(?:info(?:rmation)?|data|details|contents?)$",
            "(?:发票|小票|票据|收据|单据|处方|证件|关键|主要|重要|有用|图片|票面)[上里中]?面?的?(?:信息|内容|数据|要素)$",
            "[提读获抽][取出].?(?:所有|全部|一切)[^,，。]{0,2}(?:信息|字段|数据|内容)?$|[所全][有部](?:信息|字段|数据)$",
            "^(?:please )?(?:read|ocr|transcribe|scan|extract|recogni[sz]e|digiti[sz]e|process)"
            rf"(?: it| this| all| everything| (?:the|this|my) (?:\w+ )?{DOCUMENT})?[.!]?$",
            "what does (?:it|this|the \\w+) say|what is (?:written|printed)|perform ocr|run ocr|do ocr|ocr (?:this|the|it)",
            "图片?[里中上]?面?的(?:所有|全部)?(?:文字|字|文本)",
            r"(?:^|\s)(?:所有|全部)?的?(?:文字|字|文本)[都全]?(?:部|给我)?(?:提取|识别|读|抄|写|打)",
            "写了?(?:些)?什么|写的什么|是什么字",
        ),
    ),
)

_IMAGE_MARK = re.compile(
    r"<\|?/?(?:image|img|image_pad|vision_start|vision_end|image_\d+)\|?/?>|\[(?:img|image)\]", re.IGNORECASE
)
_EDGE = " \t\r\n.,:;!?。，：；！？、的()（）[]【】{}\"'"
_QUOTED = re.compile(r"[\"'“”‘’「『][^\"'“”‘’「」『』]+[\"'“”‘’」』]")
# Prompts of other tools that no pattern recognises, without spaces and punctuation.
_PROMPTS: Mapping[str, TaskKind] = {
    "freeocr": TaskKind.READ,  # DeepSeek-OCR
    "groundingocrthisimage": TaskKind.SPOT,
    "groundingconvertthedocumenttomarkdown": TaskKind.PARSE,
    "parsethefigure": TaskKind.CHART,
    "ocrwithformat": TaskKind.PARSE,  # GOT-OCR
    "ocrwithregion": TaskKind.SPOT,  # Florence-2
    "qwenvlhtml": TaskKind.PARSE,  # Qwen-VL
    "qwenvlmarkdown": TaskKind.PARSE,
    "layoutdetection": TaskKind.PARSE,  # MinerU, PP-Structure
    "textrecognition": TaskKind.READ,  # MinerU, PaddleOCR-VL, GLM-OCR
    "sealrecognition": TaskKind.READ,
    "textspotting": TaskKind.SPOT,
    "converttabletootsl": TaskKind.TABLE,  # Docling
    "convertcharttotable": TaskKind.CHART,
    "convertchartdata": TaskKind.CHART,
    "convertformulatolatex": TaskKind.FORMULA,
}
# Parts of a document. An instruction about two kinds of them is about the whole document: HunyuanOCR's prompt for documents
# says how tables, formulas, headers and footers are to be written.
_PARTS = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        r"公式|latex|\bformulas?\b|\bformulae\b|\bequations?\b",
        r"表格|\btables?\b",
        r"页眉|页脚|\bheaders?\b|\bfooters?\b",
        r"阅读顺序|\breading order\b",
        r"正文|版式|\blayout\b|\bmain body\b|所有内容|全文",
    )
)
_TASK_NOUN = re.compile(r"tables?|表格", re.IGNORECASE)  # also a label: the number of a restaurant's table
_CONVERSION = re.compile(r"html|markdown|convert|csv|excel|otsl|recognition|parse|解析|转", re.IGNORECASE)
_OPEN_QUESTION = r"(?:how|why|when|where|can|could|should|is|are|does|do|did|was|were|will)\b"
_FIELDS_PROMPT = re.compile(r"的?字段内容|content of the fields", re.IGNORECASE)


def guess_task(instruction: str) -> TaskKind:
    """Return the task that the words of an instruction name; `free` if they name none."""
    words = _IMAGE_MARK.sub(" ", instruction)
    plain = to_simplified(unicodedata.normalize("NFKC", words)).strip()
    bare = re.sub(POLITE, " ", strip_clauses(plain), flags=re.IGNORECASE).strip(_EDGE)
    if kind := _PROMPTS.get(normalise_key(plain)):
        return kind
    named = extract_field_names(words)
    known = [name for name in named if lookup(name)]
    if all(map(_TASK_NOUN.fullmatch, known)) and _CONVERSION.search(plain):  # "table to HTML"
        known = []
    if known and len(known) == len(named):  # "table number and total": all names are fields, although "table" is also a task
        return TaskKind.EXTRACT
    if not bare:
        return TaskKind.READ
    return _task_word(plain, bare) or (TaskKind.EXTRACT if known or _names_fields(plain, bare, named) else TaskKind.FREE)


def _names_fields(plain: str, bare: str, named: Sequence[str]) -> bool:
    """Return whether unknown names are requested as fields: after a verb, quoted, or a noun alone (车牌号)."""
    if re.match(_OPEN_QUESTION, bare, re.IGNORECASE):
        return False
    asks = re.search(VERBS, plain, re.IGNORECASE) or _QUOTED.search(plain) or not re.search(QUESTION, bare, re.IGNORECASE)
    return bool(named and asks) and all(map(is_field_like, named))


def _task_word(plain: str, bare: str) -> TaskKind | None:
    if re.search(TRANSLATE, bare, re.IGNORECASE):
        return TaskKind.TRANSLATE
    if _FIELDS_PROMPT.search(plain):
        return None
    if sum(part.search(plain) is not None for part in _PARTS) >= 2:
        return TaskKind.PARSE
    outside = re.sub(LOCATION, " ", bare, flags=re.IGNORECASE).strip(_EDGE)  # "in the table" is a location
    return next((kind for kind, pattern in TASK_PATTERNS if re.search(pattern, outside, re.IGNORECASE)), None)
