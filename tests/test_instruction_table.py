"""Instructions as people and programs write them, in English and Chinese, with the exact task and fields of each."""

import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hunyuanocr.instructions import parse_instruction
from hunyuanocr.types import TaskKind

PIECES = [
    "{",
    "}",
    '"',
    "'",
    ":",
    '{"a": 1}',
    "total",
    "总金额",
    "的",
    "有",
    "和",
    "/",
    "+",
    "()",
    "<image>",
    "if",
    "no",
    "不要",
    "\ud800",
    "①",
    "\x00",
]
FIELDS: dict[str, str] = {  # instruction: keys of the answer
    # two fields of a sentence, although pages print the words as one label
    "extract date and time": "date time",
    "What is the date and time on this receipt?": "date time",
    'extract "date and time"': "datetime",
    "extract date/time": "datetime",
    # the form of the answer is no wish
    "Return JSON with keys total, date. Do not add explanations.": "total date",
    "Extract total amount and date. Return valid JSON without markdown.": "total_amount date",
    "Extract the total and the merchant as valid JSON, without markdown code fences.": "total_amount merchant",
    "Give me the invoice number in JSON. No explanation, no markdown.": "invoice_number",
    "Output only JSON: total, date": "total_amount date",
    "total amount, date, merchant. Respond with raw JSON only.": "total_amount date merchant",
    "Please respond only with a JSON object containing the keys total and tax.": "total tax",
    "Return a JSON object with these keys: merchant, date, total": "merchant date total",
    "JSON with keys invoice_number and due_date, nothing else": "invoice_number due_date",
    "Extract total and date. Don't explain. Don't wrap the answer in backticks.": "total_amount date",
    "Extract date and total. Do not include comments, notes or markdown.": "date total_amount",
    "Extract the date. If a field is missing, return null.": "date",
    "Extract merchant and phone; use null for missing values.": "merchant phone",
    "Extract the total. Missing fields must be null. Never guess.": "total_amount",
    "Extract the date in YYYY-MM-DD format and the total as a number.": "date total_amount",
    "total (number), date (YYYY-MM-DD), merchant (string)": "total_amount date merchant",
    "Extract the fields total: number, date: string, merchant: string": "total_amount date merchant",
    "Get the total amount and the tax. Format dates as YYYY-MM-DD.": "total_amount tax_amount",
    "Extract invoice no. and date. Amounts should be numbers.": "invoice_number date",
    "You are an OCR assistant. Extract the merchant, the date and the total.": "merchant date total_amount",
    "Act as an accountant. Your task is to extract the tax number and the total amount.": "tax_number total_amount",
    "This is a receipt from a shop. Extract the total.": "total_amount",
    "Analyze this receipt and extract the total, the date and the merchant name.": "total_amount date merchant",
    "Here is my invoice. What is the due date?": "due_date",
    "I need the total and the date for my expense report.": "total_amount date",
    "For bookkeeping: merchant, tax number, total.": "merchant tax_number total_amount",
    "Hello, can you give me the date and the total, please? Thanks a lot!": "date total_amount",
    "Extract date and total exactly as printed.": "date total_amount",
    'Return {"merchant": "...", "total": 0.0} and nothing else': "merchant total_amount",
    '{"merchant": "", "items": [{"name": "", "price": ""}], "total": ""}': "merchant items total_amount",
    "Extract date, total. Ignore headers and footers.": "date total_amount",
    "List the drugs and the doctor. Make sure nothing is missing.": "items doctor",
    "只返回JSON：总金额、日期": "total_amount date",
    "提取总金额和日期，只返回JSON，不要解释": "total_amount date",
    "提取店名、日期、总金额，以标准JSON格式输出，不要加markdown代码块": "merchant date total_amount",
    "请提取发票号码，直接输出JSON，不要包含任何多余的描述性文字。": "invoice_number",
    "返回json格式，包含总金额和税额": "total_amount tax_amount",
    "请以JSON格式返回以下字段：商户名称、日期、总金额": "merchant date total_amount",
    "提取总金额和日期，没有的填null": "total_amount date",
    "提取商户和电话，如果没有就返回空": "merchant phone",
    "提取发票号码和税号，找不到的字段留空": "invoice_number tax_number",
    "你是一个专业的OCR助手，请提取总金额和日期": "total_amount date",
    "这是一张超市小票，提取店名和总金额": "merchant total_amount",
    "请识别这张小票，并提取总金额、日期": "total_amount date",
    "根据这张图片，提取姓名和身份证号": "name id_number",
    "提取日期，格式为YYYY-MM-DD，还有总金额，保留两位小数": "date total_amount",
    "您好，麻烦提取一下发票号码和开票日期，谢谢！": "invoice_number date",
    "总金额、日期就行，其他不要": "total_amount date",
    "只要总金额，别的都不要": "total_amount",
    "请仔细核对，不要遗漏。提取总金额、税额": "total_amount tax_amount",
    "提取药品和医生，注意不要出错": "items doctor",
    # lists: blanks, 、, "and", 有, numbers, lines, bullets, slashes
    "要报销，给我店名 金额 时间 税号": "merchant total_amount time tax_number",
    "店名 金额 日期": "merchant total_amount date",
    "店名　日期　总金额": "merchant date total_amount",
    "提取车牌号 总金额 日期": "车牌号 total_amount date",
    "merchant date total": "merchant date total_amount",
    "invoice number date total amount": "invoice_number date total_amount",
    "get merchant total date tax": "merchant total_amount date tax_amount",
    "total date": "total_amount date",
    "merchant, date & total": "merchant date total_amount",
    "merchant; date; total": "merchant date total_amount",
    "merchant / date / total": "merchant date total_amount",
    "- merchant\n- date\n- total amount": "merchant date total_amount",
    "* 店名\n* 金额": "merchant total_amount",
    "1) total\n2) date\n3) tax": "total_amount date tax_amount",
    "①店名②日期③总金额": "merchant date total_amount",
    "the merchant, and the date, and also the total": "merchant date total_amount",
    "total plus date plus phone": "total_amount date phone",
    "total as well as the payment method": "total_amount payment_method",
    "需要的有：店名、日期、金额": "merchant date total_amount",
    "我要的信息有店名、日期和总金额": "merchant date total_amount",
    "需要提取的字段包括发票号码、开票日期、价税合计": "invoice_number date total_amount",
    "请提取以下信息：患者姓名，性别，年龄，诊断": "patient gender age diagnosis",
    "The following fields are required: invoice number, date, total": "invoice_number date total_amount",
    "Extract these fields from the image: sender, recipient, tracking number": "sender recipient tracking_number",
    "店名：\n日期：\n金额：": "merchant date total_amount",
    "金额有日期有店名": "total_amount date merchant",
    "要有店名、有金额": "merchant total_amount",
    "寄件人、收件人以及运单号": "sender recipient tracking_number",
    "店名+日期+总金额": "merchant date total_amount",
    "总金额|日期|税额": "total_amount date tax_amount",
    "有效期": "expiry_date",
    "有效期和生产日期": "expiry_date production_date",
    "性别、科别、费别": "gender department fee_type",
    "总和": "总和",
    # questions
    "How much did I pay and when?": "total_amount date",
    "How much was it, and when was it bought?": "total_amount date",
    "When was this receipt issued and how much is the total?": "date total_amount",
    "how much and where?": "total_amount merchant",
    "When did we buy it?": "date",
    "What day was it?": "date",
    "What time was the payment made?": "time",
    "Which store is this from?": "merchant",
    "Where did I buy this?": "merchant",
    "How was it paid?": "payment_method",
    "What did I buy?": "items",
    "When is it due?": "due_date",
    "When does it expire?": "expiry_date",
    "How much tax did I pay?": "tax_amount",
    "How much was the service charge and how much was the tip?": "service_charge tip",
    "How much change did I get?": "change",
    "What's the total? And the date?": "total_amount date",
    "Who is the doctor and what is the diagnosis?": "doctor diagnosis",
    "What does it cost?": "total_amount",
    "What is the patient's name?": "patient",
    "Can you tell me the invoice number?": "invoice_number",
    "多少钱？什么时候买的？": "total_amount date",
    "花了多少钱，哪天买的": "total_amount date",
    "一共多少钱，在哪家店买的": "total_amount merchant",
    "这张小票是什么时候的？": "date",
    "几点买的": "time",
    "怎么付的款": "payment_method",
    "买了什么": "items",
    "什么时候到期": "expiry_date",
    "税额是多少？总金额呢？": "tax_amount total_amount",
    "医生是谁，诊断是什么": "doctor diagnosis",
    "请问发票号码是多少": "invoice_number",
    "合计是多少钱": "total_amount",
    # traditional characters
    "請提取總金額、日期、商戶名稱": "total_amount date merchant",
    "請提取發票號碼和開票日期": "invoice_number date",
    "提取統一編號": "tax_number",
    "提取車牌號和總金額": "車牌號 total_amount",
    "總共多少錢？什麼時候買的？": "total_amount date",
    "幫我看看這張單據的總金額是多少": "total_amount",
    "要報銷，給我店名 金額 時間 稅號": "merchant total_amount time tax_number",
    "只返回JSON：總金額、日期，不要解釋": "total_amount date",
    "患者姓名、性別、年齡、診斷、醫師": "patient gender age diagnosis doctor",
    "運單號 收件人 收件地址": "tracking_number recipient recipient_address",
    "藥品明細和處方號": "items prescription_number",
    "請識別這張小票，並提取總金額": "total_amount",
    # HunyuanOCR's own prompts for fields
    "提取图片中的: ['单价','上车时间'] 的字段内容，并按照 JSON 格式返回。": "单价 上车时间",
    "提取图片中的：['单价', '发票号码', '总金额']的字段内容，并且按照JSON格式返回。": "单价 invoice_number total_amount",
    "Extract the content of the fields: ['invoice number','车牌号'] from the image and return it in JSON format.": (
        "invoice_number 车牌号"
    ),
    "输出 发票号码 的值。": "invoice_number",
    "Output the value of invoice number.": "invoice_number",
    "提取图片中的: ['表格编号','公式'] 的字段内容，并按照 JSON 格式返回。": "表格编号 公式",
    # names that are not known keep the person's words
    "Patient ID": "medical_record_number",
    "plate no. and total": "plate no total_amount",
    "extract totl amuont": "totl amuont",
    "总额金": "总额金",
    "Gesamtbetrag": "total_amount",
    "итого": "итого",
    "提取里程数和上车时间": "里程数 上车时间",
    "提取舱位、航班号": "舱位 航班号",
    "customer phone": "customer phone",
    "merchant phone": "merchant phone",
    # further phrasings
    "What is the invoice date and who issued it?": "date merchant",
    "When and where did I buy this and how much did it cost?": "date merchant total_amount",
    'Extract these details in JSON: {"store_name": "", "purchase_date": "", "total": ""}': "merchant date total_amount",
    "Respond in JSON format only. Do not wrap in ```json. Extract merchant and date.": "merchant date",
    "Is there a tax number?": "tax_number",
    "If there is a tax number, return it. Also the total.": "tax_number total_amount",
    "Extract total, tax, etc.": "total_amount tax_amount",
    "a) store b) date": "merchant date",
    "first the merchant, then the date": "merchant date",
    "Answer in English: what is the total?": "total_amount",
    "用英文回答总金额": "total_amount",
    "把店名、日期、金额都列出来": "merchant date total_amount",
    "看看这个是哪家店的，花了多少": "merchant total_amount",
    "哪家医院？哪个医生？": "hospital doctor",
    "患者叫什么名字": "patient",
    "药品有哪些": "items",
    "这张单子上有哪些商品，总共多少钱": "items total_amount",
    "一、店名 二、日期": "merchant date",
    "首先提取店名，然后提取日期": "merchant date",
    "如果是发票就提取发票号码": "invoice_number",
    "有没有税号": "tax_number",
    "購買方名稱、銷售方名稱、稅額、價稅合計": "buyer seller tax_amount total_amount",
    # phrases around one name
    "total amount (incl. tax)": "total_amount",
    "the exact date": "date",
    "receipt total": "total_amount",
    "小票总金额": "total_amount",
    "发票金额": "total_amount",
    "购买的日期": "date",
    "name of the merchant": "merchant",
    "the date of purchase": "date",
    "date of birth": "birth_date",
    "return address": "sender_address",
    "不含税金额": "subtotal",
    "total without tax and date": "total without tax date",
    "invoice no, date": "invoice_number date",
    "table number and total": "table_number total_amount",
}

KINDS: dict[TaskKind, tuple[str, ...]] = {
    TaskKind.READ: (
        "Extract everything as valid JSON without markdown.",
        "Read all text, do not add explanations",
        "Extract the text in the image.",
        "提取图中的文字。",
        "識別全部文字",
        "提取圖中的文字。",
        "OCR:",
        "Text Recognition:",
        "<image>\nFree OCR.",
        "<image>\nFree OCR. ",
        "<image>\nOCR this image.",
        "OCR this image",
        "Free OCR",
        "Read all the text in the image.",
        "Please output the text content from the image.",
        "Extract the text content from this image.",
        "Perform OCR on this image.",
        "Transcribe this document.",
        "Extract all text from this image, return plain text only.",
        "What is written on this receipt?",
        "这上面写了什么",
        "识别图片里的所有文字，不要解释",
        "文字识别",
        "请识别图中全部文字内容",
        "把图里的字都提取出来，只要文字",
        "extract the receipt",
        "Do not add explanations.",
        "Convert the image to text",
        "请识别图片中的文字，并以JSON格式返回",
        "提取图片中的文字，不要翻译",
        "Return JSON",
        "Extract key information from this invoice and return as JSON",
        "提取发票信息",
    ),
    TaskKind.SPOT: (
        "检测并识别图片中的文字，将文本坐标格式化输出。",
        "Detect and recognize text in the image, and output the text coordinates in a formatted manner.",
        "检测并识别图中所有的文字行，请按从上到下、从左到右的阅读顺序进行识别。 输出格式为 JSON 数组，每个元素必须包含："
        '"box": [xmin, ymin, xmax, ymax]（坐标需归一化到 [0, 1000] 范围内）；"text": "识别出的文字内容"。 '
        "注意：请直接输出 JSON 数组，不要包含任何多余的描述性文字。",
        "檢測並識別圖片中的文字，將文本座標格式化輸出。",
        "Spotting:",
        "<image>\n<|grounding|>OCR this image.",
        "<OCR_WITH_REGION>",
        "Return all text with bounding boxes as JSON.",
        "识别文字并给出坐标",
    ),
    TaskKind.PARSE: (
        "提取文档图片中正文的所有信息用 markdown 格式表示，其中页眉、页脚部分忽略，表格用 html 格式表达，"
        "文档中公式用 latex 格式表示，按照阅读顺序组织进行解析。",
        "提取文档图片中正文的所有信息用markdown格式表示，其中页眉、页脚部分忽略，表格用html格式表达，文档中公式用latex格式表示，"
        "按照阅读顺序组织进行解析。",
        "请提取文档图片中正文的所有信息用 markdown 格式表示。",
        "Extract all information from the main body of the document image and represent it in markdown format, ignoring headers "
        "and footers. Tables should be expressed in HTML format, formulas in the document should be represented using LaTeX "
        "format, and the parsing should be organized according to the reading order.",
        "提取文档图片中所有内容用markdown格式表示，表格用html格式表达，文档中公式用latex格式表示，请按照阅读顺序组织进行全文解析，"
        "并输出版式分析信息。",
        "按照阅读顺序解析图中的版式信息。",
        "提取文檔圖片中正文的所有信息用 markdown 格式表示，其中頁眉、頁腳部分忽略，"
        "表格用 html 格式表達，文檔中公式用 latex 格式表示。",
        "<image>\n<|grounding|>Convert the document to markdown.",
        "<image>\nConvert the document to markdown.",
        "Convert this page to docling.",
        "Layout Detection:",
        "QwenVL HTML",
        "OCR with format:",
        "Attached is one page of a document that you must process. Just return the plain text representation of this document as "
        "if you were reading it naturally. Convert equations to LateX and tables to HTML.",
        "Convert the provided image into Markdown format.",
        "convert to markdown, tables as html",
        "转成 Markdown 文档",
        "解析這份文件",
    ),
    TaskKind.TABLE: (
        "把图中的表格解析为 HTML。",
        "Parse the table in the image into HTML.",
        "Table Recognition:",
        "把圖中的表格解析為 HTML。",
        "Convert table to OTSL.",
        "This is the image of a table. Please output the table in html format.",
        "把表格转成markdown",
    ),
    TaskKind.FORMULA: (
        "识别图片中的公式，用 LaTeX 格式表示。",
        "识别图片中的公式，用LaTeX格式表示。",
        "Identify the formula in the image and represent it using LaTeX format.",
        "Formula Recognition:",
        "Please write out the expression of the formula in the image using LaTeX format.",
        "識別圖片中的公式",
    ),
    TaskKind.CHART: (
        "解析图中的图表，对于流程图使用 Mermaid 格式表示，其他图表使用 Markdown 格式表示。",
        "Parse the chart in the image; use Mermaid format for flowcharts and Markdown for other charts.",
        "Chart Recognition:",
        "<image>\nParse the figure.",
        "解析圖中的圖表",
    ),
    TaskKind.SUBTITLES: ("提取图片中的字幕。", "Extract the subtitles from the image.", "提取圖片中的字幕"),
    TaskKind.TRANSLATE: (
        "先提取文字，再将文字内容翻译为英文。若是文档，则其中页眉、页脚忽略。公式用latex格式表示，表格用html格式表示。",
        "先解析文档，再将文档内容翻译为中文，其中页眉、页脚忽略，公式用latex格式表示，表格用html格式表示。",
        "按照阅读顺序，提取图中文字，公式用latex格式表示，表格用markdown格式表示，再将文字内容翻译为中文。",
        "First extract the text, then translate the text content into English. If it is a document, ignore the header and "
        "footer. Formulas should be represented in LaTeX format, and tables should be represented in HTML format.",
        "翻譯成英文",
        "Translate this menu, no explanations",
    ),
    TaskKind.FREE: (
        "How much sugar is in this drink?",
        "When can I get my refund?",
        "How do I return this item?",
        "这个药什么时候吃",
        "这家店什么时候开门",
        "图里有没有人",
        "这是什么药",
        "Describe this image in detail.",
        "你好",
        "Is the total more than 50 euros or is it less than that?",
    ),
}


@pytest.mark.parametrize(("sentence", "keys"), FIELDS.items())
def test_instruction_names_exactly_these_fields(sentence: Any, keys: Any) -> None:
    task = parse_instruction(sentence)
    assert task.kind is TaskKind.EXTRACT
    found = [spec.key for spec in task.fields]
    assert " ".join(found) == keys, found


@pytest.mark.parametrize(("kind", "sentence"), [(kind, sentence) for kind, sentences in KINDS.items() for sentence in sentences])
def test_instruction_names_exactly_this_task(kind: Any, sentence: Any) -> None:
    task = parse_instruction(sentence)
    assert (task.kind, task.fields) == (kind, ())


@pytest.mark.parametrize(
    ("sentence", "language"),
    [
        ("翻譯成英文", "en"),
        ("譯為韓文", "ko"),
        ("先提取文字，再將文字內容翻譯為法文。", "fr"),
        ("Translate into English, no markdown", "en"),
    ],
)
def test_target_language_is_understood_in_both_scripts(sentence: Any, language: Any) -> None:
    assert parse_instruction(sentence).language == language


@settings(deadline=None, max_examples=150)
@given(st.lists(st.sampled_from([*PIECES, *FIELDS]), max_size=12), st.sampled_from(["", " ", ", ", "、", "\n", " and "]))
def test_any_mixture_of_phrases_is_understood_without_an_empty_name(pieces: Any, separator: Any) -> None:
    task = parse_instruction(separator.join(pieces)[:4000])
    assert all(spec.key.strip() for spec in task.fields)


def test_deeply_nested_template_is_read_without_recursion() -> None:
    assert parse_instruction('{"total": ' + "[" * 1900 + "]" * 1900 + "}").fields[0].name == "total_amount"


def test_table_is_large_enough_to_cover_both_languages() -> None:
    sentences = [*FIELDS, *(s for group in KINDS.values() for s in group)]
    assert len(sentences) >= 200
    assert 0.4 < sum(s.isascii() for s in sentences) / len(sentences) < 0.6


@pytest.mark.parametrize(
    "unit",
    [
        "do not, ",
        "return json ",
        "返回json",
        "if ",
        "请",
        "没有",
        "付款",
        "how much did i pay ",
        "a ",
        "total ",
        "总金额 ",
        "'",
        "{",
        ":",
        ".",
    ],
)
def test_long_instruction_is_understood_in_milliseconds(unit: Any) -> None:
    start = time.perf_counter()
    parse_instruction((unit * 4000)[:4000])
    assert time.perf_counter() - start < 2
