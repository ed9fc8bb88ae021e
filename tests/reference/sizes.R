# Effect sizes by effectsize, standardised coefficients by parameters, shares of variance by performance, and the
# equations of Rights and Sterba (2019) and of Stoffel et al. (2021) written out.
# Run in this folder: Rscript sizes.R > sizes.json
suppressMessages({library(lme4); library(lmerTest); library(effectsize); library(parameters); library(performance)
                  library(jsonlite)})

tests <- list(c(0.3, 2, 10), c(1, 1, 20.5), c(5, 2, 9.6), c(45.8, 1, 17), c(900, 3, 50), c(5e4, 1, 30), c(3, 1, 1.2),
              c(2, 5, 2000), c(7.5, 11, 33.3))
closed <- lapply(tests, function(t) {
  size <- function(f) unlist(f(t[1], t[2], t[3], alternative = "two.sided", verbose = FALSE)[c(1, 3, 4)], use.names = FALSE)
  eta <- size(F_to_eta2)
  # the ends, from quantiles of the noncentral law: effectsize searches them with few digits
  lambda <- function(p) if (pf(t[1], t[2], t[3]) <= p) 0 else
    uniroot(function(l) pf(t[1], t[2], t[3], ncp = l) - p, c(0, 10 * t[1] * t[2] + 50), tol = 1e-10)$root
  list(test = t, eta = eta, epsilon = size(F_to_epsilon2), omega = size(F_to_omega2),
       ends = if (t[1] < 1000) sapply(c(0.975, 0.025), function(p) lambda(p) / (lambda(p) + t[3])) else NULL)
})

sleep <- read.csv("../data/sleepstudy.csv")
sleep$row <- seq_len(nrow(sleep))
sleep$Subject <- factor(sleep$Subject)
sleep$z <- sin(sleep$row * 2.7)
sleep$arm <- factor(c("a", "b")[1 + (as.integer(sleep$Subject) %% 2)])
sleep$age <- 30 + (as.integer(sleep$Subject) * 7) %% 11
sleep$centred <- ave(sleep$Days + sleep$z, sleep$Subject, FUN = function(v) v - mean(v))
dietox <- read.csv("../data/dietox.csv")
dietox$Pig <- factor(dietox$Pig); dietox$Evit <- factor(dietox$Evit)
dietox <- dietox[seq_len(nrow(dietox)) %% 7 != 0, ]
penicillin <- read.csv("../data/Penicillin.csv")
penicillin$late <- seq_len(nrow(penicillin)) %% 5

polished <- lmerControl(optimizer = "bobyqa", optCtrl = list(rhoend = 1e-10), check.conv.singular = "ignore")
cases <- list(
  slopes = list("sleepstudy", "Reaction ~ Days * z + arm + (Days | Subject)", sleep),
  centred = list("sleepstudy", "Reaction ~ centred + age + (centred | Subject)", sleep),
  intercepts = list("dietox", "Weight ~ Time * Evit + Litter + (1 | Pig)", dietox),
  crossed = list("Penicillin", "diameter ~ late + (1 | plate) + (1 | sample)", penicillin)
)
fits <- lapply(cases, function(case) {
  used <- case[[3]]; assign("used", used, envir = globalenv())
  fit <- eval(call("lmer", as.formula(case[[2]]), quote(used), control = quote(polished)))
  standard <- function(method) {
    s <- suppressMessages(suppressWarnings(standardize_parameters(fit, method = method, ci = NULL)))
    s <- s[s$Parameter != "(Intercept)" | method == "refit", ]
    setNames(as.list(s$Std_Coefficient), s$Parameter)
  }
  one <- length(getME(fit, "flist")) == 1
  a <- anova(fit)
  part <- function(term) {
    smaller <- eval(call("lmer", update(formula(fit), paste(". ~ . -", term)), quote(used), control = quote(polished)))
    v <- function(m) var(c(getME(m, "X") %*% fixef(m)))
    whole <- insight::get_variance(fit, tolerance = 0)
    (v(fit) - v(smaller)) / (v(fit) + whole$var.random + whole$var.residual)
  }
  terms <- drop.scope(terms(fit))
  result <- list(data = case[[1]], formula = case[[2]], n = nobs(fit),
    f = list(terms = rownames(a), eta = F_to_eta2(a[["F value"]], a[["NumDF"]], a[["DenDF"]], ci = NULL)[[1]],
             omega = F_to_omega2(a[["F value"]], a[["NumDF"]], a[["DenDF"]], ci = NULL)[[1]]),
    refit = standard("refit"), basic = standard("basic"), pseudo = if (one) standard("pseudo"),
    icc = if (!one) suppressWarnings(icc(fit, by_group = TRUE)) else suppressWarnings(icc(fit, tolerance = 0))$ICC_adjusted,
    part = setNames(lapply(terms, part), terms))
  if (one) {
    # fixed part within and between, slopes and means of the random part: equations 6 to 12 of Rights and Sterba, with
    # the mean over rows in the random part
    id <- getME(fit, "flist")[[1]]
    n <- nobs(fit)
    xb <- c(getME(fit, "X") %*% fixef(fit))
    xbar <- ave(xb, id)
    Z <- model.matrix(fit, type = "randomListRaw")[[1]]
    tau <- unclass(VarCorr(fit)[[1]])
    Zbar <- apply(Z, 2, function(column) ave(column, id))
    quad <- function(M) sum((M %*% tau) * M) / n
    result$level <- list(fixed_within = sum((xb - xbar)^2) / (n - 1), fixed_between = sum((xbar - mean(xb))^2) / (n - 1),
                         random_within = quad(Z - Zbar), random_between = quad(Zbar), residual = sigma(fit)^2)
  }
  result
})
cat(toJSON(list(closed = closed, fits = fits), digits = NA, pretty = TRUE, na = "null", auto_unbox = TRUE), "\n")
