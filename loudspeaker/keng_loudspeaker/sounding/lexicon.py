"""What is written short and spoken long in Vietnamese: signs, units, abbreviations, letters, words. Tables only."""

from __future__ import annotations

#: One spelling for what looks alike, before anything else.
SPELLINGS = {
    "Ð": "Đ",  # the Icelandic letter, in many a form
    "ð": "đ",
    "º": "°",
    "˚": "°",
    "⁰": "°",
    "´": "'",
    "′": "'",
    "’": "'",
    "‘": "'",
    "½": " một phần hai ",
    "⅓": " một phần ba ",
    "⅔": " hai phần ba ",
    "¼": " một phần tư ",
    "¾": " ba phần tư ",
    "⁄": "/",
    "∕": "/",
    "÷": "-",  # between numbers it stands for "to"
    "–": "-",
    "—": "-",
    "‒": "-",
    "−": "-",
    "‐": "-",
    "‑": "-",
    "×": "x",
    "→": " đến ",
    "≦": "≤",
    "≧": "≥",
    "™": "",
    "®": "",
    "©": "",
    "\u00ad": "",
}

#: A sign after a number → its words.
UNITS = {
    "mm": "mi li mét",
    "cm": "xăng ti mét",
    "dm": "đề xi mét",
    "m": "mét",
    "km": "ki lô mét",
    "ha": "héc ta",
    "m2": "mét vuông",
    "cm2": "xăng ti mét vuông",
    "km2": "ki lô mét vuông",
    "m3": "mét khối",
    "m/s": "mét trên giây",
    "km/h": "ki lô mét trên giờ",
    "km/giờ": "ki lô mét trên giờ",
    "cm/h": "xăng ti mét trên giờ",
    "mm/h": "mi li mét trên giờ",
    "m3/s": "mét khối trên giây",
    "m3/h": "mét khối trên giờ",
    "m3/ngày": "mét khối mỗi ngày",
    "l": "lít",
    "l/s": "lít trên giây",
    "ml": "mi li lít",
    "µg/m3": "mi cờ rô gam trên mét khối",
    "μg/m3": "mi cờ rô gam trên mét khối",
    "ug/m3": "mi cờ rô gam trên mét khối",
    "mg/l": "mi li gam trên lít",
    "mg/L": "mi li gam trên lít",
    "g/l": "gam trên lít",
    "mg": "mi li gam",
    "kg": "ki lô gam",
    "g": "gam",
    "W": "oát",
    "kW": "ki lô oát",
    "kWh": "ki lô oát giờ",
    "MW": "mê ga oát",
    "V": "vôn",
    "kV": "ki lô vôn",
    "kVA": "ki lô vôn am pe",
    "Hz": "héc",
    "kHz": "ki lô héc",
    "MHz": "mê ga héc",
    "GB": "ghi ga bai",
    "MB": "mê ga bai",
    "hPa": "héc tô pát can",
    "dB": "đề xi ben",
    "đ": "đồng",
    "VNĐ": "đồng",
    "VND": "đồng",
    "USD": "đô la Mỹ",
    "$": "đô la Mỹ",
    "€": "ơ rô",
    "k": "nghìn",
    "K": "nghìn",
    "tr": "triệu",
    "h": "giờ",
    "ph": "phút",
    "'": "phút",
    "%": "phần trăm",
    "‰": "phần nghìn",
    "°C": "độ xê",
    "oC": "độ xê",
    "°": "độ",
}
#: In a text of capital letters units are written so too.
UNITS |= {unit.upper(): UNITS[unit] for unit in ("mm", "cm", "m", "km", "km/h", "mm/h", "m/s", "m3/s", "kg", "ha")}

#: What is counted, and may stand before a slash: 80 người/ha, 2 lần/ngày.
COUNTED = "tấn|tạ|yến|người|hộ|con|ca|lần|chuyến|suất|đồng|nghìn|triệu|tỷ|buổi|cây"
#: For each of these it is "mỗi", for others "trên".
EACH = "năm|tháng|tuần|ngày|vụ|buổi|lần|người|hộ|khẩu|em|cháu|học sinh|lượt|nhà"
#: Of these a fraction is a part; 1/2 alone is a day.
PARTS_OF = "số|dân số|diện tích|tổng|chiều|quân số|nhà|xã|thôn|hộ|quãng|đoạn|lúa|đàn|kế hoạch|lượng|sản lượng"
#: Of these a fraction with a larger denominator counts: 8/10 thôn.
COUNTABLE = "thôn|xã|hộ|tổ|trường|lớp|học sinh|người|đại biểu|phiếu|trạm|loa|hồ|cống|xóm|ca|tiêu chí"
#: Before a fraction that can't be a day.
SHARE = "[Kk]hoảng|[Hh]ơn|[Gg]ần|[Cc]hiếm|[Cc]òn|[Gg]iảm|[Tt]ăng|[Bb]ằng|[Đđ]ạt|[Mm]ất"

#: A word of capital letters → its words.
ABBREVIATIONS = {
    "UBMTTQ": "Ủy ban Mặt trận Tổ quốc",
    "MTTQ": "Mặt trận Tổ quốc",
    "UBND": "Ủy ban nhân dân",
    "HĐND": "Hội đồng nhân dân",
    "TAND": "Tòa án nhân dân",
    "ĐU": "Đảng ủy",
    "PCT": "phó chủ tịch",
    "BCH": "Ban chỉ huy",
    "BCĐ": "Ban chỉ đạo",
    "BTC": "Ban tổ chức",
    "BQL": "Ban quản lý",
    "BĐBP": "bộ đội biên phòng",
    "DQTV": "dân quân tự vệ",
    "LHPN": "liên hiệp phụ nữ",
    "HPN": "hội phụ nữ",
    "CCB": "cựu chiến binh",
    "TNCS": "thanh niên cộng sản",
    "ĐVTN": "đoàn viên thanh niên",
    "TW": "trung ương",
    "VN": "Việt Nam",
    "PTDS": "phòng thủ dân sự",
    "PCTT": "phòng chống thiên tai",
    "PCLB": "phòng chống lụt bão",
    "TKCN": "tìm kiếm cứu nạn",
    "CNCH": "cứu nạn cứu hộ",
    "KTTV": "khí tượng thủy văn",
    "ATNĐ": "áp thấp nhiệt đới",
    "BĐ": "báo động",
    "QĐ": "quyết định",
    "NĐ": "nghị định",
    "NQ": "nghị quyết",
    "HTX": "hợp tác xã",
    "TDP": "tổ dân phố",
    "KDC": "khu dân cư",
    "KCN": "khu công nghiệp",
    "CCN": "cụm công nghiệp",
    "KĐT": "khu đô thị",
    "TĐC": "tái định cư",
    "GPMB": "giải phóng mặt bằng",
    "NVH": "nhà văn hóa",
    "TBA": "trạm biến áp",
    "NHCSXH": "Ngân hàng Chính sách xã hội",
    "QTDND": "Quỹ tín dụng nhân dân",
    "PGD": "phòng giao dịch",
    "CLB": "câu lạc bộ",
    "MN": "mầm non",
    "THPT": "trung học phổ thông",
    "THCS": "trung học cơ sở",
    "GD&ĐT": "giáo dục và đào tạo",
    "GDĐT": "giáo dục đào tạo",
    "LĐTB&XH": "lao động thương binh và xã hội",
    "KH&CN": "khoa học và công nghệ",
    "TN&MT": "tài nguyên và môi trường",
    "TNMT": "tài nguyên môi trường",
    "NN&PTNT": "nông nghiệp và phát triển nông thôn",
    "NN": "nông nghiệp",
    "PTNT": "phát triển nông thôn",
    "NTM": "nông thôn mới",
    "MTQG": "mục tiêu quốc gia",
    "KT-XH": "kinh tế xã hội",
    "QP-AN": "quốc phòng an ninh",
    "VH-TT": "văn hóa thể thao",
    "ĐBKK": "đặc biệt khó khăn",
    "PCCC": "phòng cháy chữa cháy",
    "CSGT": "cảnh sát giao thông",
    "ANTT": "an ninh trật tự",
    "ATGT": "an toàn giao thông",
    "ATTP": "an toàn thực phẩm",
    "TNGT": "tai nạn giao thông",
    "GTVT": "giao thông vận tải",
    "GPLX": "giấy phép lái xe",
    "BKS": "biển kiểm soát",
    "BHYT": "bảo hiểm y tế",
    "BHXH": "bảo hiểm xã hội",
    "TTYT": "trung tâm y tế",
    "TYT": "trạm y tế",
    "BV": "bệnh viện",
    "SXH": "sốt xuất huyết",
    "VSMT": "vệ sinh môi trường",
    "CCCD": "căn cước công dân",
    "CMND": "chứng minh nhân dân",
    "TTHC": "thủ tục hành chính",
    "QSDĐ": "quyền sử dụng đất",
    "STT": "số thứ tự",
    "SĐT": "số điện thoại",
    "LH": "liên hệ",
    "TP": "thành phố",
    "QL": "quốc lộ",
    "QR": "kiu a",
    "pH": "pê hát",
}

#: Who gave a document its number: 12/2025/QĐ-UBND.
ISSUERS = {
    "CP": "Chính phủ",
    "TTg": "Thủ tướng Chính phủ",
    "UBND": "Ủy ban nhân dân",
    "HĐND": "Hội đồng nhân dân",
    "TW": "Trung ương",
    "ĐU": "Đảng ủy",
    "BTTTT": "Bộ Thông tin và Truyền thông",
    "BKHCN": "Bộ Khoa học và Công nghệ",
    "BNNMT": "Bộ Nông nghiệp và Môi trường",
    "BNNPTNT": "Bộ Nông nghiệp và Phát triển nông thôn",
    "BTNMT": "Bộ Tài nguyên và Môi trường",
    "BGDĐT": "Bộ Giáo dục và Đào tạo",
    "BYT": "Bộ Y tế",
    "BTC": "Bộ Tài chính",
    "BCA": "Bộ Công an",
    "BCH": "Ban chỉ huy",
    "PCTT": "Ban chỉ huy phòng chống thiên tai",
}
#: Of which kind it is: said before its number already, so not again.
DOCUMENTS = "QĐ|NĐ|NQ|TT|CT|KH|TB|CV|BC|CĐ|PA|TTr|KL|HD|GM"

#: Shortened with a full stop, before a name.
SHORTENED = {
    "T.P": "thành phố",
    "TP.": "thành phố",
    "Tp.": "thành phố",
    "tp.": "thành phố",
    "TX.": "thị xã",
    "TT.": "thị trấn",
    "P.": "phường",
    "Q.": "quận",
    "H.": "huyện",
    "X.": "xã",
    "PGS.TS.": "phó giáo sư tiến sĩ",
    "PGS.": "phó giáo sư",
    "GS.": "giáo sư",
    "Th.S": "thạc sĩ",
    "ThS.": "thạc sĩ",
    "TS.": "tiến sĩ",
    "BS.": "bác sĩ",
    "KS.": "kỹ sư",
}
#: Signs before a number.
SIGNS = {
    "±": "cộng trừ",
    "≥": "ít nhất",
    "≤": "không quá",
    ">": "trên",
    "<": "dưới",
    "~": "khoảng",
    "≈": "khoảng",
    "+": "cộng",
    "=": "bằng",
}
#: After these words a Roman number stands.
BEFORE_ROMAN = (
    *("quý", "cấp", "vùng", "thế kỷ", "khóa", "khoá", "loại", "đợt", "kỳ", "hạng", "chương", "phần", "nhóm", "khu vực"),
    *("thứ", "đại hội", "tập", "mục", "điều", "phụ lục", "bậc", "bảng", "giai đoạn", "tuyến", "nghị quyết"),
)

#: Words of other languages as they are said here.
FOREIGN = {
    "covid": "cô vít",
    "facebook": "phây búc",
    "zalo": "da lô",
    "google": "gu gồ",
    "youtube": "diu túp",
    "tiktok": "tích tóc",
    "internet": "in tơ nét",
    "website": "oép sai",
    "email": "i meo",
    "wifi": "oai phai",
    "wi-fi": "oai phai",
    "online": "on lai",
    "video": "vi đê ô",
    "camera": "ca mê ra",
    "radio": "ra đi ô",
    "karaoke": "ca ra ô kê",
    "vneid": "vi en i ai đi",
    "app": "áp",
    "hotline": "đường dây nóng",
    "vitamin": "vi ta min",
    "qui": "quy",  # the older spelling, which espeak-ng takes for no word of the language
}

#: In the address of a page or of a mailbox.
IN_ADDRESSES = {
    ".": "chấm",
    "@": "a còng",
    "/": "gạch chéo",
    "-": "gạch ngang",
    "_": "gạch dưới",
    "vn": "vê nờ",
    "gov": "gốp",
    "com": "com",
    "edu": "e đu",
    "org": "o rờ gờ",
    "net": "nét",
    "gmail": "gờ meo",
}

#: Letters by their names, as they are said in "VTV" or "EVN" (J sounds as "gi", for which espeak-ng has no vowel).
LETTERS = {
    **{"A": "a", "Ă": "á", "Â": "ớ", "B": "bê", "C": "xê", "D": "dê", "Đ": "đê", "E": "e", "Ê": "ê", "F": "ép"},
    **{"G": "giê", "H": "hát", "I": "i", "J": "di", "K": "ca", "L": "lờ", "M": "mờ", "N": "nờ", "O": "ô", "Ô": "ô"},
    **{"Ơ": "ơ", "P": "pê", "Q": "quy", "R": "rờ", "S": "ét", "T": "tê", "U": "u", "Ư": "ư", "V": "vê"},
    **{"W": "vê kép", "X": "ích", "Y": "i", "Z": "dét"},
}

#: Where the wind blows.
DIRECTIONS = {"Đ": "Đông", "T": "Tây", "N": "Nam", "B": "Bắc"}

_ONSET = "ngh|ng|nh|n|th|tr|t|ch|c|kh|k|ph|p|gh|gi|g|qu|b|d|đ|h|l|m|r|s|v|x"
_NUCLEUS = "[aăâeêioôơuưy]{1,3}"
_CODA = "ch|nh|ng|c|m|n|p|t"
#: A syllable, small and without its tone; what is none is no word of the language.
SYLLABLE = rf"(?:{_ONSET})?{_NUCLEUS}(?:{_CODA})?"
