"""The chat format of HunyuanOCR: special tokens, and the chat template."""

SPECIAL = {
    "pad": "<｜hy_▁pad▁｜>", "bos": "<｜hy_begin▁of▁sentence｜>", "user": "<｜hy_User｜>", "eos": "<｜hy_Assistant｜>",
    "system": "<｜hy_place▁holder▁no▁3｜>", "image_start": "<｜hy_place▁holder▁no▁100｜>",
    "image_end": "<｜hy_place▁holder▁no▁101｜>", "image": "<｜hy_place▁holder▁no▁102｜>",
}  # fmt: skip
# The format: bos, system text, end token, the user's images and text, user token.
CHAT_TEMPLATE = (
    SPECIAL["bos"] + "{%- for m in messages -%}"
    "{%- for part in ([{'type':'text','text':m.content}] if m.content is string else m.content) -%}"
    "{%- if part.type == 'text' -%}{{- part.text -}}{%- else -%}"
    + SPECIAL["image_start"]
    + SPECIAL["image"]
    + SPECIAL["image_end"]
    + "{%- endif -%}{%- endfor -%}"
    "{{- {'system':'" + SPECIAL["system"] + "','user':'" + SPECIAL["user"] + "','assistant':'" + SPECIAL["eos"] + "'}[m.role] -}}"
    "{%- endfor -%}"
)
