"""Strings that do harm where data is taken for markup, script, style, a formula, a template or a terminal's command.

Families after the OWASP lists of what filters miss. Each calls `hit()`, which no page defines: to run one would show.
"""

from itertools import product

TAGS = ("script", "SCRIPT", "svg", "math", "iframe", "img", "body", "details", "style", "template", "noscript", "base")
CALLS = ("hit()", "hit``", "window['h'+'it']()", "eval('hit()')", "top.hit()")
HANDLERS = ("onerror", "onload", "onfocus", "onmouseover", "ontoggle", "onanimationstart", "onpointerenter", "onbegin")
URLS = (
    *("javascript:hit()", "JaVaScRiPt:hit()", "java\tscript:hit()", "java\nscript:hit()", " javascript:hit()"),
    *("data:text/html,<script>hit()</script>", "data:text/html;base64,PHNjcmlwdD5oaXQoKTwvc2NyaXB0Pg=="),
    *("vbscript:hit()", "//127.0.0.1:1/x.js", "file:///etc/passwd", "blob:hit", 'https://127.0.0.1:1/"onclick=hit()'),
)
BREAKERS = (
    *("</script><script>hit()</script>", "</style><script>hit()</script>", "</title><script>hit()</script>"),
    *(
        "</textarea><script>hit()</script>",
        "--><script>hit()</script>",
        "]]><script>hit()</script>",
        "<!--",
        "<![CDATA[",
    ),
    *(
        '"><script>hit()</script>',
        "'><script>hit()</script>",
        "`><script>hit()</script>",
        "</dialog><img src=x onerror=hit()>",
    ),
    *(
        "</script\t><script>hit()</script>",
        "<script/src=//127.0.0.1:1/x.js>",
        "<<script>hit()</script>",
        "<scr<script>ipt>hit()</script>",
    ),
    *(
        "\u003cscript\u003ehit()\u003c/script\u003e",
        "\\u003cscript\\u003ehit()",
        "&lt;script&gt;hit()&lt;/script&gt;",
        "&#60;script&#62;hit()",
    ),
    *("%3Cscript%3Ehit()%3C/script%3E", "\uff1cscript\uff1ehit()", "+ADw-script+AD4-hit()", "\\x3cscript\\x3ehit()"),
)
TEMPLATES = (
    *(
        "{{hit()}}",
        "{{7*7}}",
        "{% import os %}",
        "${hit()}",
        "#{hit()}",
        "<%= hit() %>",
        "{{constructor.constructor('hit()')()}}",
    ),
    *("{{''.__class__.__mro__}}", "[[${hit()}]]", "*{hit()}", "@{hit()}", "{{{hit()}}}", "{%raw%}", "{#", "%{hit()}"),
)
OTHERS = (
    *(
        "---\n!!python/object/apply:os.system ['hit']",
        '=HYPERLINK("http://127.0.0.1:1")',
        "=cmd|' /C calc'!A0",
        "+1+1",
        "-1+1",
        "@SUM(1)",
    ),
    *(
        "\x1b[31mred\x1b[0m",
        "\x1b]8;;http://127.0.0.1:1\x07link",
        "\u2028hit()\u2029",
        "\u202egnp.exe",
        "\ufeffbom",
        "\u0000"[:0] + "nul-free",
    ),
    *(
        "__proto__",
        "constructor",
        "prototype",
        "toString",
        "hasOwnProperty",
        "null",
        "undefined",
        "NaN",
        "[object Object]",
    ),
    *(
        "'; DROP TABLE clips; --",
        '" OR 1=1 --',
        "$(hit)",
        "`hit`",
        "; hit",
        "| hit",
        "../../etc/passwd",
        "%2e%2e%2f",
        "\\\\127.0.0.1\\x",
    ),
    *(
        "a" * 5000,
        "\u0301" * 50,
        "\U0001f600" * 20,
        "\u200b",
        " ",
        "\t\n\r",
        "'",
        '"',
        "\\",
        "</",
        "<",
        ">",
        "&",
        "&amp;",
        "&nbsp;",
    ),
    *(
        "@import url(//127.0.0.1:1/x.css);",
        "x:expression(hit())",
        "url(javascript:hit())",
        "}*{background:url(//127.0.0.1:1)}",
    ),
)
INJECTIONS = tuple(
    dict.fromkeys(
        [
            *(f"<{tag}>{call}</{tag}>" for tag, call in product(TAGS, CALLS)),
            *(f"<{tag} src=x {handler}={call}>" for tag, handler, call in product(TAGS[5:8], HANDLERS, CALLS[:2])),
            *(f'" {handler}="hit()" x="' for handler in HANDLERS),
            *(f'<a href="{url}">x</a>' for url in URLS),
            *URLS,
            *BREAKERS,
            *TEMPLATES,
            *OTHERS,
        ]
    )
)
