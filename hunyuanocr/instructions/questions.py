"""Questions that name no field but mean one: "How much did I pay?" is the total amount, "什么时候买的" the date.

A question counts only if all of its words are in a small vocabulary: "How much sugar is in it?" is for a language model.
"""

from __future__ import annotations

import re

_EN_WORDS = frozenset(
    re.findall(
        r"\w+",
        """
        did do does have has had is was were be been will i we you they he she it this that these the a an my our us
        me to from at on in of for by with all and also so exactly actually there here customer client buyer patient
        bill receipt invoice order purchase transaction meal dinner lunch pay paid paying cost costs spend spent owe
        owed charge charged due come came altogether total sum money overall whole thing everything price amount buy
        bought purchased issued printed made dated happen happened take took place ordered sold sale payment visit
        visited go went shop shopping eat ate done get got settled need needed written
        """,
    )
)
_ZH_CHARACTERS = frozenset(
    "这那该此本张个份单子小票据发收账帮我你您咱们他她它客人户顾看下查算是在的了过吧呢啊呀吗购买物付款钱支结帐交易开具打印出吃花给去生"
    "一共总计合到底究竟大概需要应该得价格费用东西些次顿饭全部元块消时候"
)

_EN: tuple[tuple[str, str], ...] = (  # field, opening of the question; the rest are words of the vocabulary
    ("due_date", r"(?:by )?when(?: is| was)? (?:it|this|the (?:bill|invoice|payment)|payment) due|when (?:must|should|"
        r"do) (?:i|we) pay"),
    ("expiry_date", r"(?:until )?when (?:does|do|will|is|did) (?:it|this|they|that) (?:expire|valid)|"
        r"when does (?:the \w+ )?expire"),
    ("time", r"(?:at )?what time|(?:at )?which hour"),
    ("date", r"(?:on )?(?:when|(?:what|which) (?:day|date))"),
    ("payment_method", r"how (?:did|was|were|is|has) (?:i|we|it|this|they|he|she|the \w+)(?: been)? (?:pay|paid|settled)"),
    ("items", r"what (?:items|products|goods|things)|what (?:did|have|has|was|were) (?:i|we|you|they|he|she|"
        r"the \w+)?(?: been)? ?"
              r"(?:buy|bought|purchased?|order|ordered|eat|eaten|ate)"),
    ("total_amount", r"how much|what (?:did|do|does|have) (?:i|we|it|this|they) (?:pay|paid|owe|spend|spent|cost)"),
    ("address", r"where (?:is|was) (?:it|the (?:shop|store|merchant|restaurant|company|hospital))(?: located)?"),
    ("merchant", r"(?:from |at |in )?(?:which|what) (?:shop|store|merchant|company|restaurant|supermarket|business|place|"
        r"vendor)"
                 r"|(?:from )?where|from (?:whom|who)|who (?:sold|issued|is (?:it|this) from|was (?:it|this) from)"),
)  # fmt: skip
_ZH: tuple[tuple[str, str], ...] = (
    ("expiry_date", r"(?:什么时候|啥时候|何时|哪[一]?天|几号)(?:会|才)?(?:到期|过期|失效)"),
    ("time", r"几点[钟几分]{0,3}"),
    ("date", r"什么时候|啥时候|什么时间|何时|哪一?[天日]|几月几[号日]|几[号日]|什么日期|哪个日期|多会儿?"),
    ("payment_method", r"(?:怎么|如何|怎样|用什么|用啥)(?:方式)?(?:支付|付款|付|结账|给钱|给)"),
    ("items", r"(?:买|点|购买|吃|开|拿)了?(?:些|了)?(?:什么|啥|哪些)(?:东西|商品|菜|药|货|药品)?"),
    ("hospital", r"(?:在)?哪一?[家个](?:医院|诊所)"),
    ("merchant", r"(?:在)?哪一?[家个](?:店铺?|商店|超市|餐厅|餐馆|饭店|公司|商家|商户|药店|单位)|在哪(?:里|儿|家)?(?=买|"
        r"消费|购|吃)|谁(?:卖|开)"),
    ("address", r"(?:店铺?|商店|商家|超市|餐厅|医院)(?:的位置)?在(?:哪里?|哪儿|什么地方)"),
    ("total_amount", r"多少钱?|几块钱?|几元"),
)  # fmt: skip

_QUESTIONS = tuple(
    [(name, re.compile(rf"\b(?:{opening})\b", re.IGNORECASE)) for name, opening in _EN]
    + [(name, re.compile(opening)) for name, opening in _ZH]
)


def question_field(clause: str) -> str | None:
    """Return the field that a question without a field's name asks for, or None. `clause` is simplified, without punctuation."""
    for name, pattern in _QUESTIONS:
        for found in pattern.finditer(clause):
            rest = f"{clause[: found.start()]} {clause[found.end() :]}".lower()
            if all(word in _EN_WORDS or _ZH_CHARACTERS.issuperset(word) for word in rest.split()):
                return name
    return None
