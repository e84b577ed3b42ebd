"""All texts of the page in Chinese and English, and the Chinese texts of errors and warnings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from html import escape
from typing import Literal

from hunyuanocr.fields.catalogue import KNOWN
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.types import Doubt, ResultWarning, TaskKind

Language = Literal["zh", "en"]
LANGUAGES: Mapping[str, Language] = {"中文": "zh", "English": "en"}

TEXT: Mapping[str, tuple[str, str]] = {  # key: (Chinese, English)
    "account": ("退出登录", "Log out"),
    "title": ("票据识别", "Receipt reader"),
    "subtitle": (
        "拍张照片，说说想要什么。图片只在本机处理，不会外传。",
        "Take a photo and say what you need. Your images never leave this computer.",
    ),
    "camera": ("拍照", "Take a photo"),
    "choose": ("选择文件", "Choose a file"),
    "drop": ("也可以把文件拖进来，或直接粘贴图片", "or drop a file here, or paste an image"),
    "formats": (
        "支持 JPEG、PNG、WebP、BMP、GIF、TIFF、PDF，AVIF 和 iPhone 照片（HEIC）也可以",
        "JPEG, PNG, WebP, BMP, GIF, TIFF, AVIF, PDF and iPhone photos (HEIC)",
    ),
    "sending": ("正在上传…", "Uploading…"),
    "instruction": ("想要什么？", "What do you need?"),
    "placeholder": ("例如：提取总金额和日期", "For example: extract the total and the date"),
    "read": ("开始识别", "Read"),
    "fields": ("项目", "Fields"),
    "text": ("文字", "Text"),
    "field": ("项目", "Field"),
    "value": ("内容", "Value"),
    "normalized": ("标准格式", "Standard format"),
    "confidence": ("可信度", "Confidence"),
    "proof": ("核对", "Check"),
    "grounded": ("图上有", "found on the page"),
    "ungrounded": ("图上没找到，请核对", "not found, please check"),
    "missing": ("图上没有", "not on the page"),
    "label_only": ("图上有这一项，但没找到内容", "its label is on the page, but no value"),
    "also": ("也可能是：{}", "or is it: {}"),
    "unknown": ("没看懂这个名称，图上也没有。可以试试：{}", "This name is not known and not on the page. Try: {}"),
    "or": ("或", "or"),
    "page": ("第 {} 页", "page {}"),
    "choose_row": ("点一行，图上会标出位置。", "Select a row to see where it is on the image."),
    "no_fields": ("这次没有指定要哪些项目，结果在“文字”里。", "You did not ask for any fields. The result is under Text."),
    "no_text": ("图上没有找到文字。", "No text found on the image."),
    "more_pages": ("这里只显示前 {} 页，结果包含所有页。", "Only the first {} pages are shown. The result covers all pages."),
    "copy": ("复制", "Copy"),
    "copied": ("已复制", "Copied"),
    "empty": ("图片会显示在这里。", "Your image will appear here."),
    "waiting": ("结果会显示在这里。", "The result will appear here."),
    "took": ("{} 秒 · {}", "{} s · {}"),
    "no_picture": ("请先拍照或选择文件。", "Take a photo or choose a file first."),
    "expired": ("图片已经清除了，请重新选择。", "The image has expired. Please choose it again."),
    "upload_failed": ("上传没成功，请检查网络后再试。", "The upload failed. Check the network and try again."),
    "qr_code": ("二维码", "QR code"),
    "bar_code": ("条码", "Bar code"),
}

PRESETS: Mapping[Language, tuple[str, ...]] = {  # instructions as a user would type them, each behind a button
    "zh": (
        "提取总金额", "提取商户、日期和总金额", "提取商品明细", "提取处方：患者、日期、药品、医生", "识别全部文字",
        "转成 Markdown 文档", "翻译成英文",
    ),
    "en": (
        "Extract the total amount",
        "Extract the merchant, date and total amount",
        "List the items",
        "Extract the prescription: patient, date, drugs, doctor",
        "Read all text",
        "Convert to Markdown",
        "Translate into Chinese",
    ),
}  # fmt: skip

_WARNINGS: Mapping[str, str] = {  # code: Chinese text; the English text comes with the warning
    "blurry": "照片有点糊，结果可能不准，最好重拍一张。",
    "glare": "照片反光，有些字可能看不清，最好换个角度重拍。",
    "no_evidence": "这次没能在图上核对结果，请您看一遍。",
    "fake_backend": "现在是试用模式，内容是编的，没有真的识别图片。",
    "truncated": "内容太多，没有识别完，后面的可能缺了。",
    "incomplete_image": "图片没传完整，可能缺了一部分，最好重新发一次。",
    "unknown_field": "有的名称没看懂，图上也没有，请换个说法。",
    "unknown_key": "请求里有个参数名没认出来，没有用上，请检查拼写。",
    "nothing_found": "图上没有找到文字。",
    "several_documents": "图里有好几张单据，这里只显示第一张的内容，其余的在 JSON 的 documents 里。",
    "script_not_supported": "图上的文字大多是认不了的文种。",
    "looks_mirrored": "图片是左右反的，请关掉相机的镜像再拍一张。",
    "letters_too_small": "字太小，认不准，请靠近一点拍，或者发原图。",
    "low_resolution": "照片太小，小字可能认不准，最好靠近一点重拍。",
}


_DOUBTS: Mapping[str, tuple[str, str]] = {  # code: short text of a table cell
    "embedded_data_differs": (
        "和文件里的电子发票或二维码不一致，请核对",
        "differs from the e-invoice or the QR code, please check",
    ),
    "close_rival": ("图上还有别的值也像，请核对", "another value is as likely, please check"),
    "weak_letters": ("字看不太清，请核对", "hard to read, please check"),
    "uncertain_choice": ("不确定是不是这一项，请核对", "perhaps not the right one, please check"),
    "ambiguous_date": ("日期有几种读法，请核对", "the date can be read in several ways, please check"),
    "invalid_checksum": ("校验位不对，请核对", "the check digits do not fit, please check"),
    "value_not_certain": ("图上可能有，但拿不准，请看一眼", "perhaps printed, please check the picture"),
}
_NAMES: Mapping[str, str] = {  # table headings for fields where the first Chinese label in the catalogue does not serve as one
    "total_amount": "总金额",
    "merchant": "商户",
    "items": "明细",
}
_COLUMNS: Mapping[str, str] = {  # table headings of line items
    "name": "名称",
    "quantity": "数量",
    "unit": "单位",
    "unit_price": "单价",
    "amount": "金额",
    "specification": "规格",
    "dosage": "用法用量",
}


def doubt_text(doubt: Doubt, language: Language) -> str:
    """Return the text of a doubt, for a table cell."""
    zh, en = _DOUBTS.get(doubt.code, (doubt.message, doubt.message))
    return zh if language == "zh" else en


def translate(key: str, language: Language) -> str:
    """Return the text with this key in `language`."""
    zh, en = TEXT[key]
    return zh if language == "zh" else en


def presets(language: Language, tasks: Set[TaskKind]) -> list[str]:
    """Return the preset instructions that a backend with these tasks supports."""
    return [preset for preset in PRESETS[language] if parse_instruction(preset).kind in tasks]


def warning_text(warning: ResultWarning, language: Language) -> str:
    """Return the text of a warning, with its page number if it is not about the first page."""
    text = _WARNINGS.get(warning.code, warning.message) if language == "zh" else warning.message
    return text if not warning.page else f"{translate('page', language).format(warning.page + 1)}: {text}"


def field_label(key: str, language: Language, *, column: bool = False) -> str:
    """Return the display name of a field or of a column of line items: `total_amount` → 总金额, Total amount."""
    if not (key in KNOWN or key in _NAMES or (column and key in _COLUMNS)):
        return key  # a name that the user chose
    if language == "en":
        return key.replace("_", " ").capitalize()
    return (_COLUMNS.get(key) if column else None) or _NAMES.get(key) or KNOWN[key].zh[0]


def negotiate_language(accept_language: str | None) -> Language:
    """Return the preferred one of Chinese and English by an Accept-Language header (RFC 9110); English if neither is named."""
    preferences: list[tuple[float, int, Language]] = []
    for order, part in enumerate((accept_language or "").split(",")):
        match = re.fullmatch(r"\s*(zh|en)(?:-[\w-]+)?\s*(?:;\s*q=([\d.]+)\s*)?", part, re.IGNORECASE)
        if match:
            weight = float(match[2]) if match[2] and match[2].count(".") < 2 and match[2] != "." else 1.0
            preferences.append((-weight, order, "zh" if match[1].lower() == "zh" else "en"))
    return min(preferences)[2] if preferences else "en"


def escape_html(text: str) -> str:
    """Return untrusted text as HTML. Braces, backticks and `$` are escaped too, since Gradio interprets HTML as a template."""
    return escape(text).replace("{", "&#123;").replace("}", "&#125;").replace("`", "&#96;").replace("$", "&#36;")
