"""Regular expressions for instructions in Chinese and English: polite forms, verbs, locations, languages.

They expect normalised text (NFKC) with simplified characters.
"""

from __future__ import annotations

import re
from collections.abc import Mapping


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

POLITE = alternation(
    "请[你您]?|麻烦[你您]?|帮我|帮忙|帮下忙?|给我|我(?:们)?(?:只|就)?(?:想|需)?要(?!求)|我想|想要?知道|需要(?!的)|"
    "(?<![提读抽获识])[找读查看取念报认问算]一?下|把|将|一下|看看|能不能|可不可以|能否|可否|可以帮|首先|然后|接着|最后(?!一)",
    r"please|kindly|pls|plz|you to|firstly|first(?= the\b)|finally",
    "(?:can|could|would|will) you(?: please)?",
    "(?:i|we)(?: just| only| really)? (?:want|need|would like|wish|am looking for)(?: to (?:know|have|get|see))?|(?:i|"
    "we)'d like(?: to (?:know|have|get|see))?"
    "|i'm looking for|i'm interested in",
    "(?:give|tell|show|get|send|let) (?:me|us)(?: know| have| see)?|help me",
)
VERBS = alternation(
    "提取出?来?|识别出?|抽取出?|摘录|截取|获取|读取|读出|找出来?|找到|找一?下|查找|查询|查出|查看|输出|返回|列出来?|"
    "列一?下|显示|告诉我|告知|看一?下|看看"
    "|整理出?|写出|写下|录入|采集|认出|要求",
    "extract|get|find(?: out)?|read(?: out)?|return|output|list|show|fetch|pull(?: out)?|grab|capture|recogni[sz]e|detect|"
    "identify|locate|"
    r"retrieve|obtain|collect|provide|look up|tell|transcribe|(?:report|print|copy|include|parse|scan)(?= (?:the|all|its|"
    r"my)\b)",
    "谁是",
    "what(?:'?s| is| are| was| were)|how much(?: is| was)?|which|who(?:'s| is| was)?|when(?: is| was)?",
)
DOCUMENT = (
    "(?:image|picture|photo|photograph|receipt|invoice|bill|document|page|scan|prescription|label|card|slip|file|"
    "screenshot|pdf|form|paper|report)"
)
DOCUMENT_ZH = (
    "(?:图片|图像|照片|图|发票|小票|收据|票据|单据|单子|处方笺?|药单|账单|名片|快递单|面单|化验单|检验单|报告单?|文档|"
    "文件|页面|截图)"
)
LOCATION = alternation(  # phrases for the location of a field: "发票上的", "on this receipt"
    rf"[这该此那]?[张个份]?(?:{DOCUMENT_ZH}|证件|卡片|表格)"
    r"[上中里内]?面?(?:[的:]|都?(?=有哪|有什么))",
    rf"(?:from|on|in|of|for) (?:the |this |my |that |an? )?{DOCUMENT}"
    r"(?! (?:numbers?|no|nos|date|code|total|amount|id|name|type|address)\b)",
)
FILLER = alternation(
    "的?(?:字段)?内容|的值|(?:这些|以下|下列|如下)?字段(?:信息)?",
    "[是为](?:多少钱?|什么|几号|哪天|谁|哪家|啥|几)|有?多少钱?|[吗呢]|出来|等?信息",
    r"[只仅](?:需要?|要)?(?:返回|输出|提取)?|的?(?:数字|数值)(?=[,。;\s]|$)",
    "(?:is|are|was|were|has been) (?:charged|paid|due|printed|shown|written|listed|given|stated|mentioned)",
    "(?:did|do|does|have|has|had) (?:i|we|you|they|he|she|it)(?: have to)? (?:pay|paid|spend|spent|get|got|receive|owe|cost)",
    "(?:no|and) (?:other|nothing) (?:text|words|else)",
    "(?:(?:with|using|having|containing|use) )?(?:the |these |those )?(?:exact |two |three |four |five )?(?:following )?"
    "(?:json )?(?:fields?|values?|keys?|attributes|properties|data points)(?: called| named| are)?",
    "键名?[:为是用有]?|keys?[为是用有]",
    "only|just|each of|(?:if )?(?:there (?:is|are)|(?:is|are) there)(?: an?| any)?|(?:does|do) (?:it|this|they) (?:have|"
    "show|contain)(?: an?| any)?",
    r"(?:都|分别)?(?:有|是)?(?:哪些|哪几[个样项种])|有没有|有无|是否有|叫(?:什么|啥)(?:名字)?|哪[个位名](?=\w)|"
    r"多大(?=年龄|岁数)",
    "(?:in|as|to|into) (?:an? )?(?:markdown|csv|xml|yaml|plain text|(?:bullet(?:ed)? )?list|bullet points|"
    "key.value(?: pairs?)?)(?: format| table)?",
    "(?:用|以|按照?)(?:markdown|csv|xml|yaml|列表|表格|纯文本)(?:的?(?:格式|形式))?(?:返回|输出|表示|列出)?",
    r"(?:这|那)?(?:[一二两三四五六七八九十]|\d)(?:个|项|样|种)(?:字段|信息|内容|东西)?|分别|各自|主要",
    "(?:the )?(?:value|content|text)s? of(?: the)?",
)
TOTAL_QUESTION = "多少钱|[总一][共计]多少|[花付]了多少"
QUESTION = alternation(  # for a language model only: questions, and verbs about the whole image
    r"怎么|怎样|如何|什么|为啥|为何|哪|谁|吗|呢|是否|是不是|有没有|能不能|可以|几[个张人次种]|总结|概括|描述|解释|介绍|"
    r"说明|分析|计算|比较|判断|检查|写|你好",
    r"how|why|what|who|where|when|is|are|does|do|did|can|should|was|were|has|have|hi|hello|thanks",
    "describe|summari[sz]e|explain|count|compare|check|write|analy[sz]e|calculate|classify|convert|answer|tell",
)
AND = alternation(
    "以及|还有|另外|外加|加上|再加|同时|并且|或者?|和|与|及|跟",
    "and|plus|or|then|as well as|(?:along |together )?with(?: (?:its|their))?|in addition(?: to)?",
)
DOCUMENT_NOUN = (  # a phrase that is the whole document, not a field: "this receipt"
    rf"(?:(?:this|that|the|my|these|attached|following|given|above|below|uploaded|provided|an?) )+(?:\w+ )?(?:{DOCUMENT}|"
    rf"table|text|chart|formula)s?|images?|pictures?|photos?"
    r"|(?:这|该|此|那|下面|上传)的?[张个份]?(?:图片|图像|图|照片|发票|小票|收据|票据|单据|单子|账单|处方笺?|文档|文件|页面|票)|"
    r"图片|照片"
)
FORMAT_WORDS = (  # words about the form of an answer
    r"json|markdown|xml|csv|yaml|html|plain|text|string|str|number|float|int|integer|decimal|numeric|bool(?:ean)?|null|"
    r"none|n/a|only|just|"
    r"valid|format|output|response|code|fences?|object|array|strings|numbers|explanations?|ok|okay|yyyy|mm|dd|hh|ss|格式|"
    r"纯文本|字符串|数字|etc|so on|so forth|等等?|"
    r"即可|就行|结果"
)
FORM_OF_VALUE = (  # what follows a name and only describes the form of its value: "date as YYYY-MM-DD", 日期格式为YYYY-MM-DD
    r"\s(?:in|as|formatted|format|using|without|rounded|normali[sz]ed|converted)\s(?=.{0,40}(?:yyyy|\biso|format|numbers?|"
    r"digits?|float|integer|string|"
    r"currency|symbol|sign|decimal|dd|written|printed|upper|lower))|\s(?=yyyy|dd/|mm/)"
    r"|的?格式|保留|精确到|统一[用为成]|转换?[为成]|只要数字|[用按以]?(?=yyyy)|不带|要?[写用]数字|\s?[(=<\[]"
)
LIST_OPENING = (  # the names follow: "the following fields are", "需要的信息包括"
    r"(?:信息|内容|字段|项目|数据|要求|东西|需要的|想要的|要的|如下|以下)(?:主要)?(?:包括|包含|包括有|含有|分别[是为]|"
    r"[是为有])(?!多少|什么|哪)|(?:主要)?(?:包括|包含)(?!税)"
    r"|\b(?:(?:following|these|required|needed|necessary)(?: \w+){0,2}|fields|keys|values|information|data|details)"
    r" (?:are|is|includ(?:es?|ing)|called|named|such as|like|namely)\b(?: (?:required|needed|necessary|wanted|"
    r"requested))?|\b(?:namely|including|such as)\b"
)
OWN_KEYS = (  # the client names the keys of the answer
    r"\b(?:with|using|use|has|having|containing|contains|these|following|exact|json|and) (?:only |exactly |just )?(?:the |"
    r"these |two |three )?"
    r"(?:following |exact |json )?keys?\b(?! value)|\bkeys? ?(?::|are\b|named\b|called\b|must be|should be)|"
    r"键名?[:为是用有]|(?<![a-z])keys?[为是用有]"
)
