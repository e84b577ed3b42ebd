"""Every word on the page, in Chinese and English, and the words for the errors and warnings that a person may meet."""

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
        "拍一张照片，说出想要的内容。图片只在这台机器上处理。",
        "Take a photo, say what you want. Pictures stay on this machine.",
    ),
    "camera": ("拍照", "Take a photo"),
    "choose": ("选择文件", "Choose a file"),
    "drop": ("也可以把文件拖到这里，或粘贴图片", "or drop a file here, or paste a picture"),
    "formats": (
        "JPEG、PNG、WebP、BMP、GIF、TIFF、PDF；iPhone 的 HEIC 照片可直接使用",
        "JPEG, PNG, WebP, BMP, GIF, TIFF, PDF; HEIC photos of an iPhone work as they are",
    ),
    "sending": ("正在上传…", "Uploading…"),
    "instruction": ("想要什么？", "What do you want?"),
    "placeholder": ("例如：提取总金额和日期", "For example: extract total amount and date"),
    "read": ("开始识别", "Read"),
    "fields": ("字段", "Fields"),
    "text": ("文字", "Text"),
    "field": ("字段", "Field"),
    "value": ("内容", "Value"),
    "normalized": ("规范值", "Normalised"),
    "confidence": ("置信度", "Confidence"),
    "proof": ("核对", "Evidence"),
    "grounded": ("图上有", "on the page"),
    "ungrounded": ("图上未找到，请核对", "not found, please check"),
    "missing": ("图上没有", "not on the page"),
    "or": ("或", "or"),
    "page": ("第 {} 页", "page {}"),
    "choose_row": ("点一行，图片上会标出它的位置。", "Choose a row to mark its place on the picture."),
    "no_fields": ("这次没有要求字段，结果在“文字”里。", "No fields were asked for; the result is under Text."),
    "no_text": ("图片上没有找到文字。", "No text was found on the picture."),
    "more_pages": ("这里只显示前 {} 页，结果包含全部页面。", "The first {} pages are shown here; the result covers all."),
    "copy": ("复制", "Copy"),
    "copied": ("已复制", "Copied"),
    "empty": ("图片会显示在这里。", "The picture will appear here."),
    "waiting": ("结果会显示在这里。", "The result will appear here."),
    "took": ("{} 秒 · {}", "{} s · {}"),
    "no_picture": ("请先拍照或选择文件。", "Take a photo or choose a file first."),
    "expired": ("图片已从内存中清除，请重新选择。", "The picture is no longer kept; please choose it again."),
    "upload_failed": ("上传没有完成，请检查网络后再试。", "The upload did not finish; check the network and try again."),
}

PRESETS: Mapping[Language, tuple[str, ...]] = {  # one tap; each is an instruction as a person would type it
    "zh": (
        "提取总金额", "提取商户、日期和总金额", "提取商品明细", "提取处方：患者、日期、药品、医生", "识别全部文字",
        "转成 Markdown 文档", "翻译成英文",
    ),
    "en": (
        "Extract the total amount",
        "Extract merchant, date and total amount",
        "Extract the items",
        "Extract the prescription: patient, date, drugs, doctor",
        "Read all text",
        "Convert to Markdown",
        "Translate into Chinese",
    ),
}  # fmt: skip

_ERRORS: Mapping[str, tuple[str, str]] = {  # code: what went wrong and what to do, in Chinese; English comes with the error
    "internal_error": ("出了点问题。", "请再试一次；如果仍然失败，请联系管理员。"),
    "bad_request": ("请求无法理解。", "请重新选择图片再试。"),
    "invalid_value": ("这条指令无法使用。", "请缩短或换一种说法。"),
    "empty_input": ("文件是空的。", "请重新拍照或选择文件。"),
    "one_file_only": ("一次只能识别一个文件。", "PDF 或 TIFF 可以包含多页。"),
    "invalid_base64": ("图片数据不完整。", "请重新选择图片。"),
    "unreadable_image": ("图片已损坏或不完整，无法打开。", "请重新拍照或另存后再试。"),
    "pdf_password": ("这个 PDF 有密码。", "请另存为没有密码的 PDF 再试。"),
    "unsupported_media_type": ("这个文件不是图片，也不是 PDF。", "请选择 JPEG、PNG、BMP、GIF、WebP、TIFF、HEIC 或 PDF。"),
    "image_too_large": ("图片太大。", "请选择小一些的图片。"),
    "image_too_large_for_memory": ("图片太大，超出了模型可用的内存。", "请选择小一些的图片，或联系管理员增加内存。"),
    "document_too_complex": ("这份文件太复杂，打开它要用太多时间或内存。", "请把每一页另存为图片后再试。"),
    "decoding_busy": ("正在打开的文件太多。", "请稍等片刻再试。"),
    "renderer_unavailable": ("暂时打不开 PDF。", "请稍等片刻再试；图片仍可识别。"),
    "too_many_pages": ("页数太多。", "请把文件拆开后分别识别。"),
    "task_not_supported": ("当前的识别引擎不能完成这项任务。", "请换一条指令，例如“提取总金额”或“识别全部文字”。"),
    "unknown_task": ("没有这种任务。", "请换一条指令。"),
    "invalid_schema": ("JSON Schema 无法使用。", "需要 type 为 object 并带有 properties。"),
    "schema_not_satisfied": ("图上的内容不符合所给的 JSON Schema。", "请允许可能缺少的字段为 null。"),
    "remote_picture": ("图片是一个网址，本机不会去下载。", "请直接发送图片本身（data URI：data:image/jpeg;base64,…）。"),
    "webhook_refused": ("这个 webhook 地址不允许调用。", "请本机的管理者在设置 jobs.webhook_hosts 中写明可以调用的主机。"),
    "batch_too_large": ("这一批太大。", "请分几次发送。"),
    "too_many_cameras": ("连接的摄像头太多。", "请关闭不用的摄像头，或调大设置 camera.connections。"),
    "too_many_requests": (
        "请求太频繁。",
        "请稍等片刻再试；管理员可调大设置 network.requests_per_minute_per_ip 和 network.requests_per_minute_per_key。",
    ),
    "too_many_failures": ("密钥错误的次数太多。", "请更正密钥，等待 Retry-After 所示的秒数后再试。"),
    "uploads_full": ("正在上传的内容太多。", "请稍等片刻，减少同时上传的数量；管理员可调大设置 network.upload_memory_mb。"),
    "address_refused": ("不允许这个地址访问。", "请管理员在设置 network.allow 中写明允许访问的地址。"),
    "reader_crashed": ("读这张图片时识别程序崩溃了。", "请保留这张图片并报告；不会再次尝试。"),
    "not_found": ("没有找到。", "请检查编号；已删除或超过保留期限的内容不再存在。"),
    "store_off": ("本机没有开启记录保存。", "请打开设置 store.enabled 后重新启动。"),
    "store_unavailable": ("数据库暂时无法使用。", "请稍等片刻再发送；若一直如此，请检查磁盘和设置 store.url。"),
    "out_of_descriptors": ("本机打开的文件和连接太多，暂时忙不过来。", "请稍等片刻再发送；本机的管理者可以调大 ulimit -n。"),
    "forbidden": ("不允许从这里进行此操作。", "请在本机上通过 127.0.0.1 操作。"),
    "missing_scope": ("这个密钥没有此项权限。", "请向本机的管理者索取有此权限的密钥。"),
    "foreign_site": (
        "不允许其他网站进行此操作。",
        "请用本机自己的地址打开页面；允许的见 network.origins 和 security.public_hostnames。",
    ),
    "unauthorized": ("需要密钥。", "请登录，或发送 Authorization: Bearer 密钥；本机的管理者可用 hunyuanocr keys create 创建。"),
    "bad_key": ("密钥、令牌或登录码无效或已失效。", "请向本机的管理者索取新的密钥。"),
    "model_busy": ("正在加载另一个模型。", "请等它可用后再试：/v1/models 会显示。"),
    "idempotency_conflict": ("这个 Idempotency-Key 已用于另一个请求。", "每个请求请使用新的键；只有重复同一请求时才用相同的键。"),
    "job_over": ("任务已经结束，不能再取消。", "没有可取消的内容；要删除结果，请删除与任务同号的记录。"),
    "queue_full": ("正在排队的请求太多。", "请稍等片刻再试。"),
    "reader_unavailable": ("识别引擎还没有准备好。", "请稍等片刻再试。"),
    "output_truncated": ("内容太多，模型没有写完。", "请减少要提取的字段，或减少页数再试。"),
    "reader_failed": ("识别这张图片时出错。", "请再试一次；如果仍然失败，请保留图片并联系管理员。"),
    "deadline_exceeded": ("识别用时过长，已经停止。", "请换小一些的图片或减少页数。"),
    "missing_dependency": ("缺少必要的组件。", "请联系管理员。"),
    "config_error": ("设置有误。", "请联系管理员。"),
    "weights_missing": ("没有找到模型文件。", "请管理员运行 hunyuanocr fetch 下载模型。"),
    "weights_broken": ("模型文件不完整或不匹配。", "请管理员运行 hunyuanocr fetch 重新下载模型。"),
}

_NOTICES: Mapping[str, str] = {  # code: Chinese; English comes with the notice
    "blurry": "照片有些模糊，结果可能不准，建议重新拍一张。",
    "glare": "照片有反光，部分文字可能看不清，建议换个角度再拍。",
    "no_evidence": "第二个识别引擎不可用，结果没有在图上核对。",
    "truncated": "模型没有写完，图上靠后的内容可能缺失。",
    "low_resolution": "照片分辨率较低，小字可能认不准，建议靠近一些再拍。",
}


_NAMES: Mapping[str, str] = {  # where the catalogue's first Chinese word is not the one for a heading
    "total_amount": "总金额", "merchant": "商户", "items": "明细",
}  # fmt: skip
_COLUMNS: Mapping[str, str] = {  # of line items
    "name": "名称", "quantity": "数量", "unit": "单位", "unit_price": "单价", "amount": "金额", "specification": "规格",
    "dosage": "用法用量",
}  # fmt: skip


def translate(key: str, language: Language) -> str:
    """The words for `key`."""
    zh, en = TEXT[key]
    return zh if language == "zh" else en


def presets(language: Language, tasks: Set[TaskKind]) -> list[str]:
    """Those that a reader of these tasks can do."""
    return [words for words in PRESETS[language] if parse_instruction(words).kind in tasks]


def error_text(error: HunyuanOcrError, language: Language) -> tuple[str, str]:
    """What went wrong, and what to do about it; an error without Chinese words speaks for itself."""
    if language == "zh" and error.code in _ERRORS:
        return _ERRORS[error.code]
    return error.message, error.hint


def warning_text(notice: ResultWarning, language: Language) -> str:
    """A notice in the person's language, with its page if there are several."""
    words = _NOTICES.get(notice.code, notice.message) if language == "zh" else notice.message
    return words if not notice.page else f"{translate('page', language).format(notice.page + 1)}: {words}"


def field_label(key: str, language: Language, *, column: bool = False) -> str:
    """A field's name (or that of a column of line items) as a person says it: `total_amount` → 总金额, Total amount."""
    if not (key in KNOWN or key in _NAMES or (column and key in _COLUMNS)):
        return key  # the person's own word
    if language == "en":
        return key.replace("_", " ").capitalize()
    return (_COLUMNS.get(key) if column else None) or _NAMES.get(key) or KNOWN[key].zh[0]


def negotiate_language(accept_language: str | None) -> Language:
    """The page's language for an Accept-Language header (RFC 9110): whichever of Chinese and English is asked for first."""
    wishes: list[tuple[float, int, Language]] = []
    for order, part in enumerate((accept_language or "").split(",")):
        match = re.fullmatch(r"\s*(zh|en)(?:-[\w-]+)?\s*(?:;\s*q=([\d.]+)\s*)?", part, re.IGNORECASE)
        if match:
            weight = float(match[2]) if match[2] and match[2].count(".") < 2 and match[2] != "." else 1.0
            wishes.append((-weight, order, "zh" if match[1].lower() == "zh" else "en"))
    return min(wishes)[2] if wishes else "en"


def escape_html(words: str) -> str:
    """Words from a page or a person as HTML text. Braces and such too: nothing that is read may look like a template."""
    return escape(words).replace("{", "&#123;").replace("}", "&#125;").replace("`", "&#96;").replace("$", "&#36;")
