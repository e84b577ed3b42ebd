"""Regular expressions for instructions in Chinese and English: tasks, polite forms, verbs, locations, languages."""

from __future__ import annotations

import re
from collections.abc import Mapping

from hunyuanocr.types import TaskKind


def alternation(*alternatives: str) -> str:
    """Join regular expressions as alternatives; those without Han characters match whole words only."""
    return "|".join(a if re.search("[一-鿿]", a) or a[0] == "^" else rf"\b(?:{a})\b" for a in alternatives)


LANGUAGES: Mapping[str, str] = {  # ISO 639-1 → names in use
    "zh": "中文|汉语|简体中文|简体|华文|chinese|mandarin",
    "en": "英文|英语|english",
    "ja": "日文|日语|japanese",
    "ko": "韩文|韩语|korean",
    "fr": "法文|法语|french",
    "de": "德文|德语|german",
    "es": "西班牙文|西班牙语|西语|spanish",
    "pt": "葡萄牙文|葡萄牙语|葡语|portuguese",
    "it": "意大利文|意大利语|italian",
    "ru": "俄文|俄语|russian",
    "th": "泰文|泰语|thai",
    "vi": "越南文|越南语|vietnamese",
    "ms": "马来文|马来语|malay",
    "id": "印尼文|印尼语|indonesian",
    "ar": "阿拉伯文|阿拉伯语|arabic",
    "hi": "印地文|印地语|hindi",
    "tr": "土耳其文|土耳其语|turkish",
}
ANY_LANGUAGE = "|".join(LANGUAGES.values())
INTO = rf"(?:成|为|到|to|into|in)\s*(?P<language>{ANY_LANGUAGE})"

_TEXT_ZH = r"(?:文字|文本|内容|字)(?:内容)?"
TASK_PATTERNS: tuple[tuple[TaskKind, str], ...] = (  # tried in this order
    (TaskKind.TRANSLATE, alternation("翻译|译成|译为", "translate|translation")),
    (TaskKind.SUBTITLES, alternation("字幕", "subtitles?")),
    (TaskKind.CHART, alternation("图表|流程图", "(chart|flow ?chart|diagram)s?", "mermaid")),
    (TaskKind.FORMULA, alternation("公式", "latex", "formula[es]?", "equations?")),
    (TaskKind.TABLE, alternation("表格", "tables?(?! *(no|number|#))", "html")),
    (
        TaskKind.PARSE,
        alternation("文档解析|解析这?[张个份]?(?:文档|图片|页面)", "markdown", "parse (?:the |this )?(?:document|page)"),
    ),
    (TaskKind.SPOT, alternation("坐标|文字位置|检测并识别", "(?:bounding )?box(?:es)?", "coordinates?", "spotting")),
    (
        TaskKind.READ,
        alternation(
            rf"(?:[全所]有?部?|图中的?|图片中的?|上面的?|识别|提取|读取)[^,，。]{{0,6}}{_TEXT_ZH}[。.!！]?$",
            "^(?:识别|读取?|读图|全文)$",
            r"^(?:识别|读取?|看看?)\s*这?[张个份]?(?:图片?|照片|小票|收据|发票|单[子据]|文档|页面)$",
            "^ocr$",
            "(?:all|full|any|every|whole|extract|read|recogni[sz]e) (?:of )?(?:the )?(?:printed |visible |plain )?(?:text|words)",
            "(?:read|extract|get|show|list) (?:everything|all)$",
            "(?:read|extract|get|show|list) (?:all|every) (?:the )?(?:fields?|info(?:rmation)?|data|details)$",
            "[提读获][取出].?(?:所有|全部|一切)[^,，。]{0,2}(?:信息|字段|数据)?$",
            "^(?:read|ocr|transcribe)(?: it| this| all| everything| (?:the|this) (?:image|picture|page|photo|receipt))?[.!]?$",
            "what does (?:it|this) say",
        ),
    ),
)

POLITE = alternation(
    "请你?|麻烦你?|帮我|帮忙|给我|我(?:想|需)?要|把|将|一下",
    "please|kindly",
    "(?:can|could|would) you",
    "i (?:want|need|would like)(?: to)?",
    "(?:give|tell|show|get) (?:me|us)|help me",
)
VERBS = alternation(
    "提取出?|识别出?|抽取|获取|读取|读出|找出|查找|查询|输出|返回|列出|显示|告诉我|看一下|看看",
    "extract|get|find|read|return|output|list|show|fetch|pull(?: out)?|grab|capture|recogni[sz]e|detect|identify",
    "谁是",
    "what(?:'s| is| are| was| were)|how much(?: is| was)?|which|who(?:'s| is| was)?|when(?: is| was)?",
)
LOCATION = alternation(  # phrases for the location of a field: "发票上的", "on this receipt"
    r"[这该此]?[张个份]?(?:图片|图像|图|照片|发票|小票|收据|票据|单据|处方笺?|药单|账单|名片|快递单|面单|[化检]验单|报告单?|文档|页面|证件|卡片|表格)"
    r"[上中里内]?面?[的:]",
    "(?:from|on|in|of|for) (?:the |this |my |that |an? )?"
    "(?:image|picture|photo|receipt|invoice|bill|document|page|scan|prescription|label|card|report|slip)",
)
FILLER = alternation(
    r"[并且]?(?:请)?(?:按照?|以|用|为|成)\s*json\s*(?:格式|形式)?(?:返回|输出|表示)?|json\s*格式",
    "的?(?:字段)?内容|的值|(?:这些|以下|下列|如下)?字段(?:信息)?",
    "是(?:多少|什么|几号|哪天|谁|哪家|啥)|有?多少钱?|[吗呢]|出来|等?信息",
    "(?:不要|无需|不用|别)(?:其[他它]|别的|多余|任何)[^,，。;；]*",
    "[只仅](?:需要?|要)?(?:返回|输出|提取)?|的(?:数字|数值)",
    "(?:is|are|was|were|has been) (?:charged|paid|due|printed|shown|written|listed)",
    "(?:no|and) (?:other|nothing) (?:text|words|else)",
    "(?:as|in|to|into) (?:a )?json(?: format| object)?",
    "(?:the )?(?:following )?(?:fields?|values?|keys?)(?: called| named)?",
    "only|just",
)
TOTAL_QUESTION = alternation(
    "多少钱|[总一][共计]多少|花了多少|付了多少",
    "how much",
    "what (?:did|do|have) (?:i|we) (?:pay|paid|owe|spend|spent)",
)
QUESTION = alternation(  # for a language model only: questions, and verbs about the whole image
    r"怎么|怎样|如何|什么|为啥|为何|哪|谁|吗|呢|是否|是不是|有没有|能不能|可以|几[个张人次种]|总结|概括|描述|解释|介绍|说明|分析|计算|比较|判断|检查|写|你好",
    r"how|why|what|who|where|when|is|are|does|do|did|can|should|was|were|has|have|hi|hello|thanks",
    "describe|summari[sz]e|explain|count|compare|check|write|analy[sz]e|calculate|classify|convert|answer|tell",
)
AND = alternation("以及|还有|和|与|及|跟", "and|plus|as well as|(?:along )?with(?: (?:its|their))?")
