"""All texts of the page in Chinese and English, and the Chinese texts of errors and warnings."""

from __future__ import annotations

import re
from collections.abc import Mapping, Set
from html import escape
from typing import Literal

from hunyuanocr.errors import HunyuanOcrError
from hunyuanocr.fields.catalogue import KNOWN
from hunyuanocr.instructions import parse_instruction
from hunyuanocr.types import ResultWarning, TaskKind

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
        "支持 JPEG、PNG、WebP、BMP、GIF、TIFF、PDF，iPhone 照片（HEIC）也可以",
        "JPEG, PNG, WebP, BMP, GIF, TIFF, PDF and iPhone photos (HEIC)",
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

_ERRORS: Mapping[str, tuple[str, str]] = {  # code: (what went wrong, what to do); the English texts come with the error
    "internal_error": ("系统出了点问题。", "请再试一次；还不行就联系管理员。"),
    "bad_request": ("请求有误。", "请刷新页面，重新选择图片。"),
    "invalid_value": ("这句话用不了。", "请说短一点，或换个说法。"),
    "empty_input": ("没有收到图片。", "请重新拍照或选择文件。"),
    "one_file_only": ("一次只能识别一个文件。", "有好几页的，请合成一个 PDF 或 TIFF。"),
    "invalid_base64": ("图片数据不完整。", "请重新选择图片。"),
    "unreadable_image": ("图片坏了，打不开。", "请重新拍照，或另存一份再试。"),
    "pdf_password": ("这个 PDF 有密码。", "请去掉密码再试。"),
    "unsupported_media_type": ("不支持这种文件。", "请选择图片（JPEG、PNG、BMP、GIF、WebP、TIFF、HEIC）或 PDF。"),
    "image_too_large": ("图片太大了。", "请换一张小一点的。"),
    "image_too_large_for_memory": ("图片太大，内存不够。", "请换一张小一点的，或请管理员给模型加内存（--vram-gb）。"),
    "document_too_complex": ("文件太复杂，打开太慢或太占内存。", "请把每一页存成图片再试。"),
    "decoding_busy": ("正在处理的文件太多。", "请过一会儿再试。"),
    "renderer_unavailable": ("暂时打不开 PDF。", "请过一会儿再试；图片不受影响。"),
    "too_many_pages": ("页数太多。", "请拆成几份，分开识别。"),
    "task_not_supported": ("现在的识别引擎做不了这件事。", "请换个要求，例如“提取总金额”或“识别全部文字”。"),
    "unknown_task": ("没有这种任务。", "请换个要求。"),
    "invalid_schema": ("JSON Schema 有误。", "最外层的 type 要是 object，并带有 properties。"),
    "schema_not_satisfied": ("图上的内容不符合 JSON Schema。", "可能没有的字段，请允许为 null。"),
    "remote_picture": ("收到的是网址，不是图片。", "请直接发送图片（data URI：data:image/jpeg;base64,…）。"),
    "webhook_refused": ("这个 webhook 地址不允许调用。", "请管理员把主机加到设置 jobs.webhook_hosts。"),
    "batch_too_large": ("一次传得太多。", "请分几次发送。"),
    "too_many_cameras": ("连接的摄像头太多。", "请断开不用的摄像头，或请管理员调大设置 camera.connections。"),
    "too_many_requests": (
        "操作太频繁。",
        "请过一会儿再试；管理员可以调大设置 network.requests_per_minute_per_ip 和 network.requests_per_minute_per_key。",
    ),
    "too_many_failures": ("密钥输错太多次。", "请核对密钥，过一会儿再试。"),
    "uploads_full": ("正在上传的文件太多。", "请过一会儿再试，一次少传几个；管理员可以调大设置 network.upload_memory_mb。"),
    "address_refused": ("这个地址不能访问。", "请管理员把它加到设置 network.allow。"),
    "reader_crashed": ("识别这张图片时，程序崩溃了。", "请留好图片，告诉管理员；系统不会再试。"),
    "not_found": ("没有找到。", "请检查编号；内容可能已经删除或过期。"),
    "store_off": ("没有开启保存记录。", "请管理员打开设置 store.enabled，再重启。"),
    "store_unavailable": ("数据库暂时用不了。", "请过一会儿再试；还不行就请管理员检查磁盘和设置 store.url。"),
    "out_of_descriptors": ("系统太忙了。", "请过一会儿再试；管理员可以调大 ulimit -n。"),
    "forbidden": ("这里不能做这个操作。", "请在服务器本机上打开 127.0.0.1 操作。"),
    "missing_scope": ("您的密钥没有这个权限。", "请向管理员要一个有权限的密钥。"),
    "foreign_site": (
        "不能从其他网站访问。",
        "请用服务器自己的地址打开页面；管理员可以在 network.origins 和 security.public_hostnames 里添加其他地址。",
    ),
    "unauthorized": ("请先登录。", "没有密钥就向管理员要；管理员用 hunyuanocr keys create 创建。"),
    "bad_key": ("密钥或登录码不对，或已经失效。", "请向管理员要新的。"),
    "model_busy": ("正在加载另一个模型。", "请等加载完再试；状态见 /v1/models。"),
    "idempotency_conflict": ("这个 Idempotency-Key 已经用过了。", "每个新请求都要用新的；只有重发同一个请求时才用旧的。"),
    "job_over": ("任务已经结束，不能取消了。", "要删除结果，请删除编号相同的记录。"),
    "queue_full": ("排队的请求太多。", "请过一会儿再试。"),
    "reader_unavailable": ("识别引擎还没准备好。", "请过一会儿再试。"),
    "output_truncated": ("内容太多，没有识别完。", "请少要几项，或减少页数再试。"),
    "reader_failed": ("识别这张图片时出错了。", "请再试一次；还不行就留好图片，联系管理员。"),
    "deadline_exceeded": ("识别太久，已经停止。", "请换一张小一点的图片，或减少页数。"),
    "missing_dependency": ("缺少必要的组件。", "请联系管理员。"),
    "config_error": ("设置有误。", "请联系管理员。"),
    "weights_missing": ("没有找到模型文件。", "请管理员运行 hunyuanocr fetch 下载。"),
    "weights_broken": ("模型文件不完整或不匹配。", "请管理员运行 hunyuanocr fetch --force 重新下载。"),
}

_WARNINGS: Mapping[str, str] = {  # code: Chinese text; the English text comes with the warning
    "blurry": "照片有点糊，结果可能不准，最好重拍一张。",
    "glare": "照片反光，有些字可能看不清，最好换个角度重拍。",
    "no_evidence": "这次没能在图上核对结果，请您看一遍。",
    "fake_backend": "现在是试用模式，内容是编的，没有真的识别图片。",
    "truncated": "内容太多，没有识别完，后面的可能缺了。",
    "low_resolution": "照片太小，小字可能认不准，最好靠近一点重拍。",
}


_NAMES: Mapping[str, str] = {  # table headings for fields where the first Chinese label in the catalogue does not serve as one
    "total_amount": "总金额", "merchant": "商户", "items": "明细",
}  # fmt: skip
_COLUMNS: Mapping[str, str] = {  # table headings of line items
    "name": "名称", "quantity": "数量", "unit": "单位", "unit_price": "单价", "amount": "金额", "specification": "规格",
    "dosage": "用法用量",
}  # fmt: skip


def translate(key: str, language: Language) -> str:
    """Return the text with this key in `language`."""
    zh, en = TEXT[key]
    return zh if language == "zh" else en


def presets(language: Language, tasks: Set[TaskKind]) -> list[str]:
    """Return the preset instructions that a backend with these tasks supports."""
    return [preset for preset in PRESETS[language] if parse_instruction(preset).kind in tasks]


def error_text(error: HunyuanOcrError, language: Language) -> tuple[str, str]:
    """Return the message and the hint of an error; in English if it has no Chinese text."""
    if language == "zh" and error.code in _ERRORS:
        return _ERRORS[error.code]
    return error.message, error.hint


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
