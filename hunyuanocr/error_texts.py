"""Messages and hints of errors in Chinese. The English ones are in `hunyuanocr.errors`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from hunyuanocr.errors import HunyuanOcrError

_CHINESE: Mapping[str, tuple[str, str]] = {  # code: (what went wrong, what to do)
    "internal_error": ("系统出了点问题。", "请再试一次；还不行就联系管理员。"),
    "bad_request": ("请求有误。", "请刷新页面，重新选择图片。"),
    "invalid_value": ("这句话用不了。", "请说短一点，或换个说法。"),
    "empty_input": ("没有收到图片。", "请重新拍照或选择文件。"),
    "one_file_only": ("一次只能识别一个文件。", "有好几页的，请合成一个 PDF 或 TIFF。"),
    "invalid_base64": ("图片数据不完整。", "请重新选择图片。"),
    "unreadable_image": ("图片坏了，打不开。", "请重新拍照，或另存一份再试。"),
    "pdf_password": ("这个 PDF 有密码。", "请去掉密码再试。"),
    "unsupported_media_type": ("不支持这种文件。", "请选择图片（JPEG、PNG、BMP、GIF、WebP、TIFF、HEIC、AVIF）或 PDF。"),
    "unsupported_compression": ("图片没坏，但这种压缩格式打不开。", "请另存为 JPEG、PNG 或 PDF 再试。"),
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


def error_text(error: HunyuanOcrError, language: Literal["zh", "en"]) -> tuple[str, str]:
    """Return the message and the hint of an error; in English if it has no Chinese text."""
    if language == "zh" and error.code in _CHINESE:
        return _CHINESE[error.code]
    return error.message, error.hint
