"""Clauses of an instruction that request nothing: the form of the answer, missing values, roles, purposes, courtesy.

"Return valid JSON without markdown" requests neither a document nor a field. The patterns expect normalised text (NFKC) with
simplified characters, in which the comma is "," and the colon ":".
"""

from __future__ import annotations

import re

from hunyuanocr.instructions.patterns import ANY_LANGUAGE, DOCUMENT, DOCUMENT_ZH

_UP_TO_COMMA = r"[^,.;!?。\n]{0,60}"
_REST = r"(?:[^.;!?。\n]|\.(?=\w))*"  # of the sentence
# The rest of a negative list: a comma continues it only if "or" follows ("no comments, quotes or markdown").
_NEGATED = r"(?:[^.,;!?。\n]|\.(?=\w)|,(?=[^.;!?。\n]{0,80}\b(?:or|nor)\b))*"
_EXTRAS = (
    r"(?:(?:any|other|additional|extra|further|more|surrounding|unnecessary|special)\s+){0,3}(?:markdown|currency|"
    r"symbols?|units?|signs?|code|explan\w+|comment(?:s|ary)|prose|"
    r"notes?\b|preamble|intro\w*|format\w*|fences?|backticks?|quotes?\b|descript\w+|text|words|content|information|output|"
    r"details|markup|"
    r"html|latex|special characters|duplicates|hallucinat\w+|guess\w*|placeholders?)"
)
_EMPTY = r"[\"'“]?(?:null|none|n/?a|nil|empty|blank|an? (?:empty|blank)|\"\"|-{1,2}(?!\w))"
_EMPTY_ZH = r"[\"'“「]?(?:null|none|n/?a|空|无|未知|没有|-{1,2}(?!\w)|\"\")"

_ENGLISH: tuple[str, ...] = (
    rf"\b(?:please )?(?:do not|don'?t|never|no need to|avoid|refrain from)\b{_NEGATED}",
    rf"\b(?:and |but |with )?(?:without|no|skip|omit|exclude|ignor(?:e|ing)|leave out) (?:the |all )?{_EXTRAS}{_NEGATED}",
    rf"\b(?:skip|omit|exclude|ignor(?:e|ing)|leave out) (?:the |any |all )?(?:page )?(?:headers?|footers?|watermarks?|"
    rf"the rest|rest|everything|"
    rf"anything|other|logos?|stamps?|handwriting){_NEGATED}",
    rf"\bif\b{_UP_TO_COMMA}\b(?:missing|absent|not|no|unclear|unreadable|illegible|unknown|can'?t|cannot|isn'?t|aren'?t|"
    rf"doesn'?t|empty|unsure|"
    rf"unavailable|nothing|without){_REST}",
    rf"\bif (?:possible|you can|any|available|present|there(?! (?:is|are) (?:an?|any) \w)|visible|shown|printed|it is|"
    rf"this is|the {DOCUMENT} (?:is|"
    rf"has)){_UP_TO_COMMA}",
    rf"\b(?:use|put|write|return|set|leave|give|output|fill|insert|mark)\b(?: (?:it|them|the (?:fields?|values?|keys?)|as|"
    rf"to|in|with|its value))*"
    rf" {_EMPTY}{_REST}",
    rf"\b(?:missing|absent|unknown|unreadable|empty) (?:fields?|values?|keys?|entries|data|ones)\b{_REST}",
    r"\botherwise\b" + _REST,
    rf"\b(?:you are|you're|act as|imagine|pretend|suppose)\b{_REST}",
    r"\bas an? (?:ocr|ai|expert|experienced|assistant|accountant|professional|data)\b" + _UP_TO_COMMA,
    r"\byour (?:task|job|goal|role|mission) is(?: to)?\b",
    rf"\b(?:here(?: is|'s)|this is|these are|attached is|below is|above is|i have|i've|we have|given|consider|"
    rf"look(?:ing)?(?: carefully)? at|"
    rf"take a look at|based on|using|analy[sz]e|examine|inspect|study|process|scan|check|review|"
    rf"see)(?: \w+){{0,4}}? {DOCUMENT}s?"
    rf"(?: (?:image|photo|picture|below|above|attached|carefully|closely|here|and|then|from (?:an? |the )?\w+|of (?:a|an|"
    rf"the|my) \w+)){{0,3}}(?=\s*(?:[,.;:!?。\n]|$))",
    rf"\b(?:analy[sz]e|examine|inspect|study|process|scan|review|look at)(?: \w+){{0,3}}? {DOCUMENT}s? and(?: then)?\b",
    r"\bfor (?:my |our |the |a |an )?(?:expenses?|reimbursement|book-?keeping|accounting|taxes|tax return|records|archive|"
    r"filing|insurance|"
    r"company books|books|expense (?:report|claim))\b(?: (?:report|claim|purposes?|system|software))*",
    rf"\b(?:so (?:that )?(?:i|we|it) (?:can|could|may)|because|since i|in order to|as i|to (?:claim|expense|reimburse|"
    rf"archive|file)\b){_REST}",
    rf"\b(?:make sure|ensure|remember|note that|keep in mind|be (?:careful|concise|precise|accurate|brief|exact|strict)|"
    rf"think|let'?s think|"
    rf"double.?check|pay attention|take care)\b{_REST}",
    rf"\b(?:e\.g\.|i\.e\.|for example|for instance)\s?{_REST}",
    r"(?:^|(?<=[,.;!?。\n])|\band\b)\s?(?:please )?(?:use|format|write|convert|normali[sz]e|round|keep|represent|express|"
    r"give)\b(?: \w+){0,3}"
    r" (?:as|in|to|with)\b[^,.;!?。\n]{0,60}"
    r"(?:yyyy|\biso\b|dd/|mm/|decimals?|numbers?|digits?|floats?|integers?|strings?|numeric|format)[^,.;!?。\n]*",
    r"\bnothing (?:else|more)\b",
    r"\b(?:ocr|scan|read|process|parse) (?:this|it)(?: \w+)? and(?: then)?\b",
    r"\buse (?:the )?iso(?:[ -]?8601)?\b" + _UP_TO_COMMA,
    rf"(?:(?<=[.;!?。\n])|^)\s?(?:all |the |each |every )?(?:\w+ ){{1,3}}(?:should|must|has to|have to|need to|needs to|"
    rf"will|shall)\b{_REST}",
    r"\b(?:and |then ){0,2}(?:please )?(?:return|output|respond|reply|answer|give|provide|present|format|send|write|"
    r"produce|generate|deliver|"
    r"print|make|put|structure|organi[sz]e)?(?: (?:me|us|it|them|this|all|the (?:results?|answers?|output|data|response|"
    r"values?|"
    r"information)|your (?:answer|response|output|reply)|back|result|results|answer)){0,4}(?: (?:only|just|as|in|with|"
    r"using|to|into|a|an|the|"
    r"is|be|single|flat|strict|pure|raw|plain|clean|valid|well-formed|minified|compact|proper|one|correct|pars[e]?able|"
    r"machine-readable|"
    r"structured|strictly|simple|form of|format of|standard)){0,8} json(?: (?:object|array|format|string|document|only|"
    r"output|response|data|structure|"
    r"form|file|please|list|dict(?:ionary)?)){0,4}(?!\w| keys| fields)",
    r"\b(?:only|just) (?:the )?json\b",
    r"\b(?:the )?(?:output|answer|response|result|reply|return)(?: format)?\s?:\s?json\w*",
    r"\b(?:many )?(?:thanks|thank you|thx|cheers)\b(?: (?:a lot|very much|so much|in advance))*|\bplease\b",
    r"^\s*(?:hi|hello|hey|dear \w+|good (?:morning|afternoon|evening))\b(?: there| team| everyone| bot)?(?=\s*[,!.].*\w)",
    r"\b(?:exactly |precisely )?(?:as (?:printed|written|shown|it appears|they appear)|verbatim|carefully|accurately|"
    r"precisely|correctly|"
    r"quickly|asap|right now|in (?:this|that) order|respectively)\b(?: (?:on|in) (?:the|this) \w+)?",
)
_CHINESE: tuple[str, ...] = (
    r"(?:但是?|而且|并且?|并|也|请|注意|记得|千万|(?:其[他它余]|别的|剩下的)(?:的|都|全|内容|信息|字段)?){0,3}(?:不要|"
    r"不需要?|无需|无须|不用|请勿|切勿|禁止|严禁|不得|不能|不可以?|不许|不必|避免|忽略|省略|"
    r"(?<![性科级类费识区分辨])别(?=[再加写解说输返带给用自漏的]))[^,。;!?\n]*",
    r"(?:不含|不带|没有|去掉|去除|不包含|不包括)(?:任何|多余|其[他它]|markdown|代码|解释|说明|格式|标点|注释|"
    r"前后缀)[^,。;!?\n]*",
    rf"(?:如果|若是?|假如|假设|要是|倘若|如(?=[有没无果找看缺字某]))[^。;!?\n]{{0,40}}?(?:没有|缺|不存在|找不到|"
    rf"看不[清到]|识别不|无法|不确定|未|为空|空缺|没|不清|无)"
    rf"[^,。;!?\n]*(?:,[^,。;!?\n]*{_EMPTY_ZH}[^,。;!?\n]*)?",
    rf"(?:(?<=[,。;!?\n])|^)\s?[^,。;!?\n、]{{0,10}}(?:没有|缺失|不存在|找不到|看不清|识别不[出到了]|没找到|未找到|为空|"
    rf"看不到|没写|读不出)[^,。;!?\n]{{0,12}}"
    rf"(?:{_EMPTY_ZH}|跳过|略过|不填)[^,。;!?\n]*",
    rf"(?:就|则|请|一律|统一|都|可以?){{0,3}}(?:用|填写?|写|返回|输出|置|设置?|标记?|留|"
    rf"显示)[为成入上]?{_EMPTY_ZH}(?:字符串|值|白|代替|表示|即可|就行){{0,3}}(?=[,。;!?\n]|$)",
    r"(?:(?<=[,。;!?\n])|^)\s?(?:你是|你现在是|假设你是|请你?扮演|作为)[^,。;!?\n]{0,40}?(?:助手|专家|机器人|模型|工程师|"
    r"引擎|系统|会计|财务|助理|人员|师|员)[^,。;!?\n]*",
    rf"(?:(?<=[,。;!?\n])|^)\s?(?:这|那|下面|以下|附件|上传|图片?|我|我这|附上|现在)(?:里|中|上|个|张){{0,2}}(?:是|有|"
    rf"的是|为|了)[^,。;:!?\n]{{0,12}}?{DOCUMENT_ZH}"
    r"(?:图片|照片|的?图)?(?=[,。;!?\n]|$)",
    rf"(?:(?<=[,。;!?\n])|^)\s?(?:请|帮我|麻烦){{0,3}}(?:根据|基于|对于?|针对|从|看看?|分析|阅读|识别|扫描|查看|处理|"
    rf"读取?|看下|看一下|识别一下)(?:一下)?(?:我|上传的|所附的|附件的|附件){{0,2}}"
    rf"[这该此那给下]?[一定面]?[张个份段幅]?(?:的)?{DOCUMENT_ZH}(?:图片|照片|内容)?(?:进行(?:识别|分析|解析|"
    rf"处理))?[里中上]?(?=[,。;!?\n]|$|(?:并|然后|后))(?:并且?|然后|后)?(?=.*\w)",
    r"(?:我|公司|财务)?(?:想|需|准备|打算)?(?:要|需要|用于|用来|为了|方便|拿来|拿去)(?:做|去|申请)?(?:报销|报账|报帐|记账|"
    r"记帐|做账|入账|对账|存档|归档|统计|走账)"
    r"(?:用的?|使用|单)?(?=[,。;:!?\s]|$)",
    r"(?:报销|报账|记账|做账|入账|对账|存档|归档)(?:用的?|使用|需要|要用)(?=[,。;:!?\s]|$)",
    r"(?:(?<=[,。;!?\n])|^)\s?(?:日期|金额)?(?:格式|保留\S{1,2}位|精确到|单位)(?!号|名)[^,。;!?\n]*",
    r"(?:请)?直接(?:输出|返回|给出|给我)(?:结果|答案|内容)?(?:即可|就行|就好)?(?=[,。;!?\n]|$)",
    r"(?:如果|若|要是)是?[^,。;!?\n]{0,8}?(?:的话,?|[,就])",
    rf"(?:请)?用(?:{ANY_LANGUAGE})(?:来)?(?:回答|回复|告诉我|输出|返回|作答)",
    rf"\b(?:(?:answer|reply|respond|output) )?in (?:{ANY_LANGUAGE})\b(?! (?:dollars|yuan))",
    r"(?:比如|例如|譬如)[^。;!?\n]*",
    r"(?:请)?(?:确保|保证|务必|注意|记住|请注意|仔细|认真|严格|尽量|准确)[^,。;!?\n]{0,40}?(?:准确|正确|完整|遗漏|一致|"
    r"仔细|出错|错误|清楚|无误|核对|合法|有效)[^,。;!?\n]*",
    r"(?:并且?|然后|最后|请|再|,){0,3}[只仅]?(?:需要?|要)?(?:直接)?(?:把|将)?(?:按照?|以|用|使用|采用|为|成|转成|转为|"
    r"转换[成为]|整理[成为]|输出[成为]|返回|做成)?"
    r"(?:返回|输出|给出|给我|提供|生成|回复|回答)?(?:结果|内容|数据|答案|格式)?(?:必须|"
    r"应该?)?[为成是用以:]?(?:按照?)?(?:一个|标准|合法|有效|严格|纯净?|规范|正确|干净|紧凑|扁平|"
    r"单个|的){0,6}json(?:对象|数组|格式|字符串|形式|结构|数据|代码|文本|结果|的){0,4}(?:即可|就行|就好|"
    r"就可以)?(?:来?(?:返回|输出|表示|给我|给出|回答|回复|展示|呈现|整理))?"
    r"(?:结果|数据|即可|就行|就好|就可以|给我|了){0,3}(?![ :]*(?:字段|key|键))",
    r"(?:非常|十分)?(?:谢谢您?你?|多谢|感谢|辛苦了?|拜托了?|请问|劳驾|麻烦了)[啦啊了!]*",
    r"^\s*(?:您好|你好|嗨|在吗)[啊呀]?(?=[,。!?\s].*\w)",
    r"(?:这几项|这几个|这些|以上)?(?:就行了?|即可|就好了?|就可以了?|就够了|都要|也要|全都要)(?=[,。;!?\s]|$)|谢{1,4}(?=[,。!\s]|$)",
)
_DROPPED = tuple(re.compile(pattern, re.IGNORECASE) for pattern in (*_ENGLISH, *_CHINESE))


def strip_clauses(text: str) -> str:
    """Return the text without the clauses that request nothing."""
    for pattern in _DROPPED:
        text = pattern.sub(" ", text)
    return text
