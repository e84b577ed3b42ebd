"""How HunyuanOCR writes the turns of a conversation: the marks between them, and the chat template that sets them."""

SPECIAL = {
    "pad": "<｜hy_▁pad▁｜>", "bos": "<｜hy_begin▁of▁sentence｜>", "user": "<｜hy_User｜>", "eos": "<｜hy_Assistant｜>",
    "system": "<｜hy_place▁holder▁no▁3｜>", "image_start": "<｜hy_place▁holder▁no▁100｜>",
    "image_end": "<｜hy_place▁holder▁no▁101｜>", "image": "<｜hy_place▁holder▁no▁102｜>",
}  # fmt: skip
# The turns of HunyuanOCR: bos, system words, their end mark, the user's pictures and words, the user mark.
CHAT_TEMPLATE = (
    SPECIAL["bos"] + "{%- for m in messages -%}"
    "{%- for part in ([{'type':'text','text':m.content}] if m.content is string else m.content) -%}"
    "{%- if part.type == 'text' -%}{{- part.text -}}{%- else -%}"
    + SPECIAL["image_start"] + SPECIAL["image"] + SPECIAL["image_end"]
    + "{%- endif -%}{%- endfor -%}"
    "{{- {'system':'" + SPECIAL["system"] + "','user':'" + SPECIAL["user"] + "','assistant':'" + SPECIAL["eos"] + "'}[m.role] -}}"
    "{%- endfor -%}"
)  # fmt: skip
