"""Labels: the variants that shops and clinics print for a field, and for decoys near it."""

from __future__ import annotations

from synthesis.document import Language
from synthesis.lexicon_format import words

Labels = dict[str, tuple[str, ...]]

ZH: Labels = {
    "total_amount": words("""
        合计; 总计; 应付; 实付; 应收; 总金额; 合计金额; 应付金额; 实付金额; 应收金额; 总额; 消费金额; 消费合计;
        本次消费; 结算金额; 应付合计; 应付总额; 总价; 金额合计; 合 计; 总 计; 合计(元); 总计(RMB); 合计 TOTAL;
        Total 合计; 交易金额; 订单金额; 应收合计; 实付款; 总计金额; 合计应付; 应付款; 总金额(元); 合计金额(元);
        应收总额; 总消费; 买单金额; 合计TOTAL; 应付 TOTAL;
    """),
    "subtotal": words("小计; 商品合计; 原价合计; 消费小计; 商品总额; 原价; 菜品小计; 商品小计; 折前金额"),
    "discount": words("优惠; 折扣; 优惠金额; 会员优惠; 折扣金额; 满减; 立减; 已优惠; 优惠券"),
    "tax_amount": words("税额; 增值税; 税金; 其中税额"),
    "rounding": words("抹零; 舍入; 四舍五入; 零头优惠"),
    "paid_amount": words("收款; 实收; 现金; 收现; 付款; 实收金额; 收您; 现金收款; 已收"),
    "paid_card": words("微信支付; 支付宝; 银联卡; 移动支付; 扫码支付; 会员卡支付; 云闪付; 刷卡"),
    "change": words("找零; 找补; 找回; 应找; 找赎"),
    "balance": words("卡余额; 会员余额; 余额; 储值余额; 账户余额"),
    "points": words("本次积分; 积分; 累计积分; 可用积分"),
    "date": words("""
        日期; 交易日期; 消费日期; 销售日期; 开票日期; 日期时间; 交易时间; 时间; 收银时间; 结账时间; 日 期; Date;
        日期/Date; 购物时间; 销售时间; 付款时间;
    """),
    "day": words("日期; 交易日期; 消费日期; 销售日期; 开票日期; 日 期; Date; 日期/Date; 购物日期; 单据日期"),
    "time": words("时间; 交易时间; 时 间"),
    "print_date": words("打印日期; 打印时间; 补打时间; 重打日期"),
    "order_time": words("下单时间; 开台时间; 入座时间; 点单时间"),
    "merchant": words("商户名称; 商户; 店名; 门店; 店铺; 商家; 商户名; 收款单位; 销售方; 店铺名称; 门店名称; 商家名称"),
    "address": words("地址; 门店地址; 地 址; 店址; Add"),
    "phone": words("电话; 联系电话; TEL; Tel; 客服电话; 服务热线; 电 话; 订餐电话; 门店电话"),
    "clinic_phone": words("电话; 联系电话; TEL; 咨询电话; 预约电话; 电 话; 医院电话"),
    "tax_number": words("税号; 纳税人识别号; 统一社会信用代码"),
    "receipt_number": words("小票号; 流水号; 单据号; 收银流水; 票据号; 小票编号; 交易流水号"),
    "order_number": words("订单号; 点菜单号; 订单编号"),
    "cashier": words("收银员; 收款员; 操作员; 营业员; 收银"),
    "till": words("机号; 收银机; POS号; 款台; 台号; 桌号; 人数; 班次; 店号"),
    "member": words("会员卡号; 会员; 卡号; 会员号"),
    "pieces": words("件数; 总件数; 数量合计; 商品数; 共计件数"),
    "payment_method": words("支付方式; 付款方式; 结算方式"),
    "hospital": words("医疗机构; 医疗机构名称; 医院; 医院名称; 机构名称"),
    "patient": words("姓名; 患者姓名; 病人姓名; 患者; 姓 名"),
    "gender": words("性别; 性 别"),
    "age": words("年龄; 年 龄"),
    "department": words("科别; 科室; 就诊科室; 开单科室; 门诊科室"),
    "diagnosis": words("临床诊断; 诊断; 初步诊断; 门诊诊断"),
    "doctor": words("医师; 医生; 开方医师; 处方医师; 医师签名; 主治医师; 开单医生"),
    "staff": words("审核; 调配; 核对; 发药; 药师; 审核药师; 调配药师"),
    "prescription_number": words("处方编号; 处方号; No; 编号"),
    "record": words("门诊号; 病历号; 就诊卡号; 门诊/住院号; 登记号; 床号"),
    "rx_total": words("药费; 金额; 药品金额; 药费合计; 总药费; 合计金额; 处方金额; 药品费; 合计; 药价; 金额合计"),
    "rx_date": words("日期; 开具日期; 处方日期; 开方日期; 就诊日期; 开单日期; 日 期"),
    "birth_date": words("出生日期; 出生年月"),
    "batch": words("批号; 生产批号; 有效期至; 效期"),
    "fee": words("打包费; 配送费; 餐盒费; 包装费; 茶位费"),
    "service": words("服务费; 服务费10%; 加收服务费10%; 餐厅服务费"),
    "in_words": words("大写; 人民币(大写); 金额大写; 合计大写"),
    "saved": words("本单已省; 已节省; 为您节省; 累计节省"),
    "slip_amount": words("金额; 金额(AMOUNT); 交易金额; 消费金额; 金额/AMOUNT; AMOUNT; 总计(TOTAL)"),
    "slip_merchant": words("商户名称; 商户名称(MERCHANT NAME); 商户名; 商户名称/MERCHANT"),
    "invoice_number": words("发票号码; 发票号; No; 票号"),
    "invoice_code": words("发票代码; 代码"),
    "invoice_date": words("开票日期; 日期; 填开日期"),
    "buyer": words("购买方; 购方名称; 购买方名称; 客户名称; 付款单位; 抬头"),
    "seller": words("销售方; 销方名称; 销售方名称; 收款单位; 开票单位"),
    "net": words("金额合计; 不含税金额; 合计金额(不含税); 小计"),
    "invoice_tax": words("税额; 税额合计; 增值税额; 合计税额"),
    "invoice_total": words("价税合计; 价税合计(小写); 含税合计; 总计; 合计(含税)"),
    "tracking_number": words("运单号; 快递单号; 运单编号; 单号; 物流单号"),
    "sender": words("寄件人; 发件人; 寄方; 寄"),
    "recipient": words("收件人; 收货人; 收方; 收"),
    "parcel_phone": words("电话; 手机; 联系电话; Tel"),
    "parcel_address": words("地址; 详细地址; 地 址"),
    "weight": words("重量; 计费重量; 实际重量; 重量(kg)"),
    "shipping_fee": words("运费; 邮费; 快递费; 月结运费"),
    "shipped": words("寄件日期; 收寄日期; 下单日期; 日期; 揽收日期"),
    "remarks": words("备注; 托寄物; 物品; 品名"),
    "slip_date": words("日期/时间; 日期/时间(DATE/TIME); 交易时间; 日期时间; 交易日期"),
}

EN: Labels = {
    "total_amount": words("""
        TOTAL; Total; GRAND TOTAL; Grand Total; AMOUNT DUE; Amount Due; Net Total; NET TOTAL; Total Due; TOTAL AMOUNT;
        Total Amount; Balance Due; TOTAL SALES; Total Payable; NETT TOTAL; Total (incl. tax); Total Incl GST;
        TOTAL RM; Total to pay; AMOUNT PAYABLE; Nett Amt; Bill Total; Order Total; Sale Total;
    """),
    "subtotal": words("""
        Subtotal; SUBTOTAL; Sub Total; SUB-TOTAL; Sub-total; Items Total; Amount before tax;
    """),
    "discount": words("Discount; DISC; Member Disc; Promo; Voucher; You saved"),
    "service": words("Service Charge 10%; Svc Chg 10%; Service 10%"),
    "tax_amount": words("Tax; GST 6%; SST 6%; VAT 20%; Sales Tax 8%; GST 9%; Tax 7.5%"),
    "rounding": words("Rounding; Rounding Adj; Round Off"),
    "paid_amount": words("""
        CASH; Cash; Cash Tendered; Paid; Tendered; AMOUNT TENDERED; Cash Received;
    """),
    "paid_card": words("VISA; Mastercard; Debit Card; CREDIT CARD; E-Wallet; Contactless"),
    "change": words("CHANGE; Change; Change Due; CHANGE DUE"),
    "balance": words("Card Balance; Member Balance; Wallet Balance; Gift Card Bal"),
    "points": words("Points earned; Reward Points; Points; Points Balance"),
    "date": words("""
        Date; DATE; Trans Date; Bill Date; Invoice Date; Receipt Date; Date/Time; Sale Date; Dated; Doc Date;
    """),
    "day": words("""
        Date; DATE; Bill Date; Invoice Date; Receipt Date; Trans Date; Sale Date; Dated; Doc Date;
    """),
    "time": words("Time; TIME"),
    "print_date": words("Printed; Print Date; Printed on; Reprint"),
    "order_time": words("Order Time; Opened; Seated; Time In"),
    "merchant": words("Merchant; MERCHANT; Store; Shop; Merchant Name; Sold by; Store Name"),
    "address": words("Address; Addr; Add"),
    "phone": words("Tel; TEL; Phone; Tel No; Ph; Call us; Telephone"),
    "clinic_phone": words("Tel; TEL; Phone; Tel No; Appointments"),
    "tax_number": words("GST Reg No; GST ID; VAT No; Tax ID; SST No"),
    "receipt_number": words("Receipt No; Receipt #; Bill No; Doc No; Rcpt; Cash Sale No; Trans No"),
    "order_number": words("Order No; Order #"),
    "cashier": words("Cashier; CASHIER; Served by; Operator; Staff; Server"),
    "till": words("""
        Till; Counter; POS; Terminal; Table; Pax; Store No; Shift; Check No; Ticket;
    """),
    "member": words("Member No; Card No; Loyalty ID"),
    "pieces": words("Items; Total Qty; No. of items; Item count; Qty"),
    "payment_method": words("Payment; Payment Method; Paid by; Tender"),
    "hospital": words("Hospital; Clinic; Facility"),
    "patient": words("Patient; Patient Name; Name; Name of Patient"),
    "gender": words("Sex; Gender"),
    "age": words("Age"),
    "department": words("Department; Dept; Unit"),
    "diagnosis": words("Diagnosis; Dx; Impression"),
    "doctor": words("Doctor; Physician; Prescriber; Prescribed by; Attending"),
    "staff": words("Dispensed by; Checked by; Pharmacist"),
    "prescription_number": words("Rx No; Prescription No; Rx #"),
    "record": words("MRN; Patient ID; File No; Visit No"),
    "rx_total": words("""
        Total; Drug Charges; Total Amount; Amount; Medication Total; TOTAL; Total Charges;
    """),
    "rx_date": words("Date; Date of issue; Prescription Date; Visit Date; Issued"),
    "birth_date": words("DOB; Date of Birth"),
    "batch": words("Batch; Lot; Exp"),
    "fee": words("Delivery Fee; Bag; Packaging"),
    "saved": words("Total savings; YOU SAVED; Savings today"),
    "in_words": words("In words"),
    "tip": words("Suggested tip 15%; Tip guide 18%"),
    "slip_amount": words("AMOUNT; Amount; TOTAL; Sale Amount; Total"),
    "slip_merchant": words("MERCHANT; Merchant Name; Merchant"),
    "invoice_number": words("Invoice No; Invoice #; INVOICE NO; Inv No; Invoice Number"),
    "invoice_date": words("Invoice Date; Date; Issue Date; DATE"),
    "buyer": words("Bill To; BILL TO; Customer; Sold To; Invoice To"),
    "seller": words("Seller; Supplier; From; Vendor"),
    "net": words("Subtotal; Net Amount; Amount excl. tax; Sub Total"),
    "invoice_tax": words("GST; VAT; Tax; Sales Tax; GST"),
    "invoice_total": words("Total; TOTAL; Amount Due; Total Due; Grand Total"),
    "due_date": words("Due Date; Payment Due; Pay by"),
    "tracking_number": words("Tracking No; Tracking #; Waybill No; AWB; Consignment No"),
    "sender": words("From; Sender; Shipper; SHIP FROM"),
    "recipient": words("To; Recipient; Consignee; SHIP TO; Deliver to"),
    "parcel_phone": words("Tel; Phone; Contact; Mobile"),
    "parcel_address": words("Address; Addr; Street"),
    "weight": words("Weight; WT; Gross Weight"),
    "shipping_fee": words("Shipping; Postage; Freight; Shipping Fee"),
    "shipped": words("Ship Date; Date; Posted; Pickup Date"),
    "remarks": words("Contents; Remarks; Goods; Note"),
    "slip_date": words("DATE/TIME; Date; Date/Time; TXN DATE"),
}


def labels(language: Language) -> Labels:
    """Return all label variants of a language, by field."""
    return ZH if language == "zh" else EN
