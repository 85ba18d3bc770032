//! User agents as shops meet them: a hundred, of which a few make most of the traffic.

/// What a run draws user agents from.
#[must_use]
pub fn agents() -> Vec<String> {
    let mut agents = Vec::new();
    for version in 140..156 {
        let build = version * 53;
        for system in ["Windows NT 10.0; Win64; x64", "Macintosh; Intel Mac OS X 10_15_7"] {
            agents.push(format!(
                "Mozilla/5.0 ({system}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 Safari/537.36"
            ));
        }
        agents.push(format!(
            "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{version}.0.0.0 \
             Mobile Safari/537.36"
        ));
        agents.push(format!(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 26_{}_2 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             CriOS/{version}.0.{build}.24 Mobile/15E148 Safari/604.1",
            version % 7
        ));
        agents.push(format!(
            "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:{version}.0) Gecko/20100101 Firefox/{version}.0"
        ));
        agents.push(format!(
            "Mozilla/5.0 (iPhone; CPU iPhone OS 18_{} like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) \
             Version/{}.{} Mobile/15E148 Safari/604.1",
            version % 8,
            version / 6,
            version % 6
        ));
    }
    agents
}
