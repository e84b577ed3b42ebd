"""Patterns of firm names, kinds of shops, addresses and document titles. They contain no names of real firms."""

from __future__ import annotations

import re

# Generic words of firm names.
FIRM = re.compile(
    r"\b(?:sdn\.?\s*bhd|bhd|s/b|plt|ltd|llc|llp|inc|corp|co|company|gmbh|pte|enterprise|enterprises|trading|holdings?|group|industries|services?)\b\.?"
    r"|有限公司|有限责任公司|股份公司|公司|集团|商行|商贸|经营部|个体工商户|合作社",
    re.IGNORECASE,
)
LEGAL_FORM = re.compile(
    r"(?:\(\w{1,3}\)\s*|\bco\.?\s*){0,5}\b(?:sdn\.?\s*bhd|bhd|s/b|plt|llc|inc|gmbh|(?:pte\.?\s*)?ltd)\b\.?|有限(?:责任)?公司",
    re.IGNORECASE,
)
SHOP_KIND = re.compile(
    r"\b(?:restoran|restaurant|kedai|pasar(?:aya)?|mart|market|supermarket|hypermarket|minimarket|store|stores|shop|cafe|café|coffee|bakery|bakeries|kitchen|bistro|"
    r"bar|grill|hotel|pharmacy|farmasi|chemist|drugstore|clinic|klinik|hospital|medical|centre|center|hardware|electrical|stationery|book(?:s|store|shop)?|"
    r"bookcentre|confectionery|grocer(?:y|ies)?|boutique|salon|spa|studio|gallery|florist|petrol|station|syarikat|perniagaan|machinery|seafood|foods?|house|"
    r"deli|diner|pizzeria|outlet|express|garden|trading|auto|motor|optical|dental|laboratory|university|school|niaga|retail|mall|plaza|outfitters|supply|"
    r"supplies|goods|pantry|corner|eatery|noodles?|tea|juice|wine|butcher|fashion|toys?|gifts?|electronics|computers?|furniture)\b"
    r"|(?:shop|store|mart|market|restaurant|pharmacy|bakery)$"  # where the reader lost the spaces
    r"|超市|商店|商场|百货|便利|餐厅|餐饮|饭店|酒楼|酒家|菜馆|面馆|火锅|烧烤|小吃|食府|茶餐厅|咖啡|奶茶|茶饮|烘焙|蛋糕|面包|药店|药房|大药房|医药|"
    r"医院|诊所|卫生院|卫生服务中心|卫生室|门诊部|保健院|书店|文具|五金|服饰|服装|鞋业|眼镜|酒店|宾馆|生鲜|水果|菜场|市场|专卖店|旗舰店|分店|总店|"
    r"广场|商城|购物中心|影城|美容|美发|理发|洗衣|加油站|[店馆铺行坊厨屋]$|店[)）]$",
    re.IGNORECASE,
)
ADDRESS = re.compile(
    r"\b(?:no|lot|jalan|jln|jl|lorong|taman|tmn|kampung|kg|persiaran|lebuh|bandar|street|st|road|rd|avenue|ave|lane|floor|flr|level"
    r"|unit|block|blk|ground|suite|drive|dr|highway|boulevard|blvd|seksyen|section|kawasan|selangor|johor|kuala lumpur|penang"
    r"|perak|sarawak|malaysia|singapore)\b[\s.:]?"
    r"|\b\d{5}\b|^[^省市区县镇乡村]*[省市区县镇乡村].*[路街道巷弄号]|\d\s?号|\d层|\d楼|[省市区县].{0,6}[区县镇]",
    re.IGNORECASE,
)
TITLE = re.compile(
    r"invoice|receipt|\bbill\b|prescription|statement|quotation|delivery order|welcome|thank|customer copy|merchant copy"
    r"|duplicate|reprint|cash sales?|official|order form|\brx\b|\breport\b|waybill|"
    r"收据|小票|结[账帐]单|账单|发票|处方|报告|欢迎|谢谢|光临|收银[单条小凭]|购物[小凭清票单]|票据|清单|凭[证据条]|单据|联$|预结单|消费单"
    r"|点菜单|销售单|^交易|签购单|存根|订单|取餐",
    re.IGNORECASE,
)
OWNER = re.compile(r"\b(?:owned|operated|managed|run)\s*by\b", re.IGNORECASE)
# A registration number after a name: in brackets, or like 81109-A and 201901012345.
REGISTRATION = re.compile(
    r"(?<!\s)\s*[(（\[](?=[^()（）\[\]]{0,80}?\d[^()（）\[\]]{2,80}\d)[^()（）\[\]]{0,160}+[)）\]]?.{0,6}$"
    r"|(?<!\s)\s++(?:(?:co|reg|no)\.?\s*+){0,4}+:?\s*+\d{5,12}\s?-?\s?[A-Z]?\b.{0,6}$|^\d{5,7}\s?-\s?[A-Z]$",
    re.IGNORECASE,
)
ZH_TITLE_END = re.compile(
    r"(?:门诊|住院|普通|急诊|电子|儿科)?(?:处方笺|处方单|处方|收费票据|检验报告单|检查报告单|报告单|收费清单|购物小票|销售小票|结账单|小票|收据|收银单)$"
)
